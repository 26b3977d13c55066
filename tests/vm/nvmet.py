# SPDX-License-Identifier: GPL-2.0
"""Plain nvmet by shell, without any of our tools: a device served on both links with ANA, to prove the world."""

CFG = "/sys/kernel/config/nvmet"


def serve(target, nqn, device, trtype, states=("optimized", "non-optimized")):
    """Serves device as namespace 1 of nqn on a port for each link, in these ANA states."""
    script = f"""set -e
modprobe nvmet-{trtype}
cd {CFG}
mkdir subsystems/{nqn}
echo 1 > subsystems/{nqn}/attr_allow_any_host
echo PVL-TEST > subsystems/{nqn}/attr_model
mkdir subsystems/{nqn}/namespaces/1
echo -n {device} > subsystems/{nqn}/namespaces/1/device_path
echo 1 > subsystems/{nqn}/namespaces/1/enable
"""
    for link, state in enumerate(states):
        script += f"""mkdir ports/{link + 1}
cd ports/{link + 1}
echo {trtype} > addr_trtype
echo ipv4 > addr_adrfam
echo {target.address(link)} > addr_traddr
echo 4420 > addr_trsvcid
echo {state} > ana_groups/1/ana_state
cd ../..
ln -s {CFG}/subsystems/{nqn} ports/{link + 1}/subsystems/{nqn}
"""
    target.exec(script)


def stop(target, nqn):
    """Takes down everything that serve() set up."""
    target.exec(f"""set -e
cd {CFG}
rm -f ports/*/subsystems/{nqn}
rmdir ports/*
rmdir subsystems/{nqn}/namespaces/1
rmdir subsystems/{nqn}""")


def connect(initiator, target, nqn, trtype, links=(0, 1)):
    """Connects a path for each link; returns the multipath block device, e.g. /dev/nvme0n1."""
    for link in links:
        initiator.exec(f"modprobe nvme-{trtype}; nvme connect -t {trtype} -a {target.address(link)} -s 4420 -n {nqn} "
                       f"--keep-alive-tmo=3 --reconnect-delay=1 --nr-io-queues=2")
    name = initiator.sh(f"""for s in /sys/class/nvme-subsystem/*; do
  [ "$(cat $s/subsysnqn)" = {nqn} ] || continue
  for i in $(seq 400); do for n in $s/nvme*n*; do n=${{n##*/}}; [ -b /dev/$n ] && echo $n && exit; done; sleep 0.1; done
done; echo no block device of {nqn} >&2; exit 1""")
    return f"/dev/{name}"


def disconnect(initiator, nqn):
    initiator.exec(f"nvme disconnect -n {nqn}")


def paths(initiator, nqn):
    """The paths to nqn as the initiator sees them: {traddr: (controller state, ANA state)}."""
    out = initiator.sh(f"""for c in /sys/class/nvme/nvme*; do
  [ -e $c/subsysnqn ] && [ "$(cat $c/subsysnqn)" = {nqn} ] || continue
  a=$(sed 's/.*traddr=\\([^,]*\\).*/\\1/' $c/address)
  echo "$a $(cat $c/state) $(cat $c/nvme*c*n*/ana_state 2>/dev/null)"
done""")
    return {a: (state, ana) for a, state, ana in (f"{line} -".split()[:3] for line in out.splitlines())}
