#!/bin/sh
# Slurm runs the batch file that ds-plan writes: slurmctld and a slurmd for each of two nodes are started here, as root.
# first: yes
for tool in munged slurmctld slurmd sbatch; do
	command -v $tool >/dev/null || PATH=$PATH:/usr/sbin
	command -v $tool >/dev/null || { echo "1..0 # SKIP no $tool: Debian has it in slurm-wlm and munge"; exit 0; }
done
. "${0%/*}/net.sh"

# The nodes are called node1 and node2, both at the loopback address.  Names and numbers are looked up only where there is another
# address, and nobody here answers questions about names.
ip link set lo up && ip addr add $NET.1/32 dev lo
printf '127.0.0.1 localhost node1 node2\n' >hosts
: >resolv.conf
mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf || skip_all "cannot mount"
mkdir state spool.node1 spool.node2
chmod 755 "$S"
head -c 128 /dev/urandom >munge.key
chmod 400 munge.key
cat >slurm.conf <<EOF
ClusterName=test
SlurmctldHost=node1(127.0.0.1)
SlurmctldPort=6817
NodeName=node1 NodeHostname=node1 NodeAddr=127.0.0.1 Port=6821 CPUs=2 State=UNKNOWN
NodeName=node2 NodeHostname=node2 NodeAddr=127.0.0.1 Port=6822 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
AuthType=auth/munge
AuthInfo=socket=$S/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$S/state
SlurmdSpoolDir=$S/spool.%n
SlurmctldPidFile=$S/slurmctld.pid
SlurmdPidFile=$S/slurmd.%n.pid
SlurmctldLogFile=$S/slurmctld.log
SlurmdLogFile=$S/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=2
SlurmctldTimeout=60
SlurmdTimeout=60
EOF
export SLURM_CONF="$S/slurm.conf"
logs="$S/slurmctld.log"

munged --foreground --force --key-file="$S/munge.key" --socket="$S/munge" --pid-file="$S/munge.pid" \
    --seed-file="$S/munge.seed" --log-file="$S/munge.log" >>said 2>&1 &
awaited test -S munge || skip_all "munged does not start here: $(tail -n 1 said)"
unshare -u sh -c 'hostname node1; exec slurmctld -D' >>said 2>&1 &
for n in node1 node2; do
	unshare -u sh -c 'hostname $1; exec slurmd -D -N $1' - $n >>said 2>&1 &
done
idle() {
	[ "$(timeout 2 sinfo -h -o %D%T)" = 2idle ]
}
awaited idle || skip_all "Slurm does not run here: $(grep -hE 'fatal|error' "$logs" slurmd.node*.log said | tail -n 1)"
report 0 "slurmctld and two slurmd run, with a key of their own"
LIMIT=20

printf '12+30=?\nWhat is 37 * 46?\n' >prompts
tr '\n' '\0' <prompts | xargs -0 ds-run -m "$M" -g >expected

# job NAME: submit NAME.sbatch, and wait until it is over
job() {
	id=$(limited sbatch --parsable --output="$S/$1.said" "$S/$1.sbatch" "$S/prompts" "$S/$1.answers") && awaited over
}
state() {
	timeout 10 scontrol -o show job "$id" | sed -n 's/.* JobState=\([A-Z_]*\) .*/\1/p'
}
over() {
	case $(state) in COMPLETED | FAILED | CANCELLED) ;; *) false ;; esac
}

printf 'alpha 1 1 10\n' >one
printf 'alpha 1 1 10\nbeta 1 1 10\n' >two
printf 'alpha 1 1 10\nbeta 1 1 10\ngamma 1 1 10\n' >three
ds-keygen key >/dev/null
keys="--key $S/key --port 5700"
limited ds-plan -m "$M" -f slurm --sample -g one >one.sbatch
limited ds-plan -m "$M" -f slurm --sample -g --unsafe --port 5700 two >two.sbatch
limited ds-plan -m "$M" -f slurm --sample -g $keys two >keyed.sbatch
limited ds-plan -m "$M" -f slurm --sample -g $keys three | sed 's/^#SBATCH --nodes=3 /#SBATCH --nodes=2 /' >three.sbatch
sed 's/^#SBATCH --nodes=2 /#SBATCH --nodes=1 /' two.sbatch >both.sbatch
job one
report $? "the batch file of a plan for one host runs" one.said $logs
same one.answers expected "its answers are those of ds-run"
job two
report $? "that of two hosts runs on two nodes" two.said $logs
same two.answers expected "its answers are those of ds-run, too"
for name in keyed three; do
	job $name
	report $? "$name: so does a plan with keys" $name.said $logs
	same $name.answers expected "with the same answers"
done
job both
report $? "it also runs in an allocation of one node" both.said $logs
same both.answers expected "with the same answers"
ok "it leaves no part of an answer behind" test ! -e two.answers.part

# A step is killed in the middle: the first time the prompts come from a FIFO that does not end.
mkfifo slow
sed 's,^exec 3<.*,if [ "$try" = 0 ]; then exec 3<>"'"$S"'/slow"; else exec 3<"$dir/prompts"; fi,' both.sbatch >killed.sbatch
id=$(limited sbatch --parsable --output="$S/killed.said" killed.sbatch "$S/prompts" "$S/killed.answers")
exec 4<>slow
tr '\n' '\0' <prompts >&4
awaited test -s killed.answers.part
report $? "a job that waits for more prompts gives the first answers" killed.said $logs

# block: the ds-block of the second host
block() {
	for p in /proc/[0-9]*; do
		case $(readlink "$p/exe") in */ds-block) ! tr '\0' ' ' <"$p/cmdline" | grep -q ' -l [0-9-]*3 ' || echo "${p#/proc/}" ;; esac
	done
}
kill -9 $(block)
awaited grep -q requeued killed.said
report $? "when a step is killed the job says so" killed.said $logs
like "$(cat killed.said)" '^beta \(node node[12]\): ds-block -l [0-9-]*3: killed by signal 9$' "it names the program and its host"
like "$(cat killed.said)" "^job $id: failed with status [0-9]+, requeued: restart 1 of 3\$" "it says that it is put into the queue again"
# Slurm would have it wait for two minutes, counted from the time when all of it is gone.  Brought forward, but not into the
# second in which its last credential was revoked: that one is compared by seconds.
again() {
	[ ! -e killed.answers ] || return 0
	due=$(timeout 10 scontrol -o show job "$id" | sed -n 's/.* JobState=PENDING .* EligibleTime=\([^ ]*\) .*/\1/p')
	[ -z "$due" ] || [ $(($(date -d "$due" +%s) - $(date +%s))) -le 5 ] ||
	    timeout 10 scontrol update jobid="$id" starttime=now+3seconds
	false
}
awaited again || { timeout 10 scontrol -o show job "$id"; tail -n 8 slurmctld.log; } >>killed.said 2>&1
report $? "the job runs again" killed.said
cmp killed.answers expected >>killed.said 2>&1
report $? "and its answers are those of ds-run" killed.said

# what is no accident is not tried again
sed 's/ds-head -m [^ ]*/ds-head -m nowhere/' one.sbatch >wrong.sbatch
job wrong
like "$(cat wrong.said)" "^alpha \(node node[12]\): ds-head: .*nowhere" "a job with a wrong line says what is wrong"
is "$(grep -c requeued wrong.said)" 0 "it is not put into the queue again"
ok "it gives no answers" test ! -e wrong.answers
nobody_left >left
report $? "no program is left" left
done_testing
