/*
 * Addresses of tcp:// and ipc:// endpoints.
 */
#ifndef DS_ADDRESS_H
#define DS_ADDRESS_H

/* Is it an endpoint that can be used: HOST:PORT, a host that is known where we connect, and keys or --unsafe where
 * other hosts are concerned?  0, or -1 and a message that names it. */
int address_check(const char *endpoint);

#define ADDRESS_NAME 256

/* The host of "[@>]tcp://HOST:PORT", without brackets, and its port.  0, or -1 and a message. */
int address_split(const char *endpoint, char name[ADDRESS_NAME], char port[8]);

#endif
