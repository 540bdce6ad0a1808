/*
 * Addresses of tcp:// and ipc:// endpoints.
 */
#ifndef DS_ADDRESS_H
#define DS_ADDRESS_H

/* Check a tcp:// endpoint: HOST:PORT, a known host if it connects, and keys or --unsafe if other
 * hosts are involved. Returns 0, or -1 and a message with the endpoint. */
int address_check(const char *endpoint);

/* 1 if an address without port can only mean this machine: localhost, or 127.x. */
int address_is_local(const char *address);

/* 1 if it is a numeric IPv4 address, so that ZeroMQ can bind to it. */
int address_is_number(const char *address);

#define ADDRESS_NAME 256

/* Split "[@>]tcp://HOST:PORT" into host, without brackets, and port. Returns 0, or -1 and a
 * message. */
int address_split(const char *endpoint, char name[ADDRESS_NAME], char port[8]);

#endif
