#!/bin/sh
# Plans over hosts that are reached by a real ssh: an sshd of the test's own on each, with keys of its own.
# first: yes
PATH=$PATH:/usr/sbin:/sbin
for tool in sshd ssh ssh-keygen; do
	command -v $tool >/dev/null || { echo "1..0 # SKIP no $tool: Debian has it in openssh-server"; exit 0; }
done
. "${0%/*}/net.sh"
host 1 2 3 9

# --- sshd on each host, at a high port; it gives no other than the key made here a shell ---
# (HOME: what start-up files of this machine's shells may say on standard error is none of ours)
# (an empty /run: what sshd wants there does not stay, nor does it meet another sshd's)
mkdir netns && mount --move /run/netns netns && mount -t tmpfs none /run && mkdir -m 755 /run/sshd /run/netns &&
    mount --move netns /run/netns || skip_all "cannot mount"
ssh-keygen -q -t ed25519 -N '' -f hostkey && ssh-keygen -q -t ed25519 -N '' -f mykey || skip_all "ssh-keygen makes no keys"
cp mykey.pub authorized
for n in 1 2 3; do
	mkdir tmp.$n
	cat >sshd.$n <<EOF
Port 2222
HostKey $S/hostkey
PidFile none
AuthorizedKeysFile $S/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
SetEnv PATH=$PATH TMPDIR=$S/tmp.$n HOME=$S
EOF
	echo "[10.77.0.$n]:2222 $(cut -d' ' -f1,2 hostkey.pub)"
done >known
cat >ssh.config <<EOF
Port 2222
User root
IdentityFile $S/mykey
IdentitiesOnly yes
UserKnownHostsFile $S/known
StrictHostKeyChecking yes
BatchMode yes
LogLevel ERROR
EOF
# an absolute name: it starts itself anew for each connection
for n in 1 2 3; do
	on $n "$(command -v sshd)" -D -e -f "$S/sshd.$n" 2>sshd.said.$n &
	awaited listens $n 2222 || skip_all "sshd does not start here: $(tail -n 1 sshd.said.$n)"
done
export DS_RSH="ssh -F $S/ssh.config" TMPDIR=$S/tmp.9 DS_MODEL=$M
mkdir tmp.9
on 9 $DS_RSH 10.77.0.1 true 2>said || skip_all "no shell by sshd here: $(cat said sshd.said.1 | tail -n 1)"

# --- plans with keys and without, over two hosts and three ---
for n in 1 2 3 9; do ds-keygen key.$n >>peers; done
cp key.1 key    # (the hosts share their files)
printf 'a 2 1 10 addr=10.77.0.1\nb 2 1 10 addr=10.77.0.2\n' >two
{ cat two; echo 'c 2 1 10 addr=10.77.0.3'; } >three
ds-run -g -n 40 "12+30=?" >want
for hosts in two three; do
	for keys in --unsafe "--key $S/key --peers $S/peers"; do
		ds-plan -f ssh --sample "-g -n 40" --context 64 $keys $hosts >script
		on 9 timeout 40 sh script "12+30=?" >got 2>err
		report $? "$hosts, a script for ssh, ${keys%% *}: it runs" err
		cat err >>got
		same got want "... and answers"
		ds-plan --sample "-g -n 40" --context 64 $keys $hosts >plan
		on 9 timeout 40 ds-run $keys --plan plan "12+30=?" >got 2>err
		report $? "$hosts, ds-run --plan, ${keys%% *}: it runs" err
		cat err >>got
		same got want "... and answers"
	done
done

# --- what fails ---
ds-plan -f ssh --unsafe two >script
sed "s,ds-head -m [^ ]*,ds-head -m $S/nowhere," script >wrong
on 9 timeout 40 sh wrong "12+30=?" >got 2>err & wrong=$!
sed 's/10\.77\.0\.2/10.77.0.9/g; s/:560/:570/g' script >away   # there is a network, and nobody listens
on 9 timeout 40 sh away "12+30=?" >got2 2>err2
is $? 3 "a host without an sshd ends a script"
like "$(cat -A err2)" '^b: ssh: connect to host 10.77.0.9 port 2222: Connection refused\$$' "ssh's message has the host, and no carriage return"
wait $wrong
is $? 1 "a program with a wrong model ends a script with its status"
like "$(cat err)" '^b: ds-head: .*nowhere' "its message has the host in front"
awaited sh -c '! ls -d tmp.[1-9]/*'
report $? "no folder is left, on any host"
mkfifo slow
exec 4<>slow
ip netns exec $NET.9 sh script <slow 2>/dev/null & script=$!
awaited sh -c 'ls tmp.2/*.b'
kill -9 $script
wait $script 2>/dev/null
awaited sh -c '! ls -d tmp.[123]/*'
report $? "no folder is left on a host where the script was killed"
exec 4<&-
awaited nobody_left
report $? "no program is left"
done_testing
