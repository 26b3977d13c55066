// SPDX-License-Identifier: GPL-2.0
#include "pavcfg/commands.hpp"

#include "pav_netlink.h"

namespace pav::cli {

namespace {

constexpr bool required = true;

Param group_param(std::string_view key, bool needed, bool bare = false) {
    return {key, ArgType::group, "G", "the media group", needed, bare};
}
Param volume_param(std::string_view key = "name", bool needed = true) {
    return {key, ArgType::volume, "V", "the volume", needed};
}
Param in_group() { return {"grpname", ArgType::group, "G", "its group; needed only where two groups have a volume of this name"}; }
Param port_param(bool needed) { return {"port-name", ArgType::port, "P", "the port, for example 100g-1/3 (see: show ports)", needed}; }
Param zone_param(std::string_view help) { return {"zone", ArgType::number, "Z", help, false, false, 1, max_zones}; }
Param controller_param(bool needed) { return {"id", ArgType::number, "N", "the controller", needed, false, 1, max_controllers}; }
Param size_param(std::string_view help) { return {"size", ArgType::size, "N GB", help, required}; }

Param drive_param(std::string_view help) { return {"drive", ArgType::drive, "D", help, required}; }
Param open_group_param() { return {"group", ArgType::group, "G", "the media group", required}; }

std::vector<Param> path_params() {
    return {volume_param("volume", false), {"grpname", ArgType::group, "G", "only volumes of this group; alone: all of them"}, port_param(false),
            {"controller", ArgType::number, "N", "every volume of this controller's ports", false, false, 1, max_controllers}};
}

}  // namespace

const std::vector<Command> &commands() {
    static const std::vector<Command> table{
        {Id::create_group, "create group",
         {{"name", ArgType::name, "G", "the new group", required},
          zone_param("the zone that owns it; needed if there is more than one"),
          {"drives", ArgType::drives, "DRIVE…", "4 to 32 drives: two of them for redundancy", required},
          {"spares", ArgType::drives, "DRIVE…", "hot spares"},
          {"data", ArgType::number, "K", "data drives of a stripe; without it, all drives but two", false, false, 2, 30},
          {"reserve", ArgType::number, "PERCENT", "how much of the space stays empty for the garbage collector; without it, 15. More: less capacity, and random "
           "writes to a full group cost less", false, false, 1, 50}},
         "make a RAID-6 media group of empty drives",
         "Any two drives can fail without an interruption. A drive that holds anything (file system, partition table, md, LVM, "
         "ZFS, another group) or is in use is refused by name, and nothing is changed.",
         "create group name MG1 zone 1 drives /dev/nvme{0..17}n1 spares /dev/nvme18n1", "", ""},
        {Id::create_volume, "create volume",
         {{"name", ArgType::name, "V", "the new volume", required},
          size_param("its size; GB is 1024^3 bytes, MB and TB alike. Thin: takes space as it is written"),
          group_param("grpname", required),
          {"nqn", ArgType::choice, "FORM", "serial: the Device Serial is the NQN; uuid: nqn.2014-08.org.nvmexpress:uuid:…", false,
           false, 0, 0, {"serial", "uuid"}}},
         "make a volume", "The volume gets a Device Serial, a UUID and an NGUID, which it keeps on whatever host its drives go to.",
         "create volume name db1 size 100 GB grpname MG1", "", ""},
        {Id::assign_volume, "assign volume",
         {volume_param(), in_group(), port_param(required),
          {"preferred", ArgType::flag, "", "this port is the preferred one of the two"}},
         "serve a volume on a port; a second time for the standby port",
         "An HA pair is exactly two ports, of different controllers in the same zone. Hosts use the active port (at first the "
         "preferred one) and go over to the standby port by themselves when it is lost. Prints the block device and the Device "
         "Serial, by which hosts connect. Can be repeated without harm.",
         "assign volume name db1 port-name 100g-1/1 preferred", "", ""},
        {Id::unassign_volume, "unassign volume", {volume_param(), in_group(), port_param(false)},
         "no longer serve a volume, on one port or on all",
         "Without port-name: on all. Hosts lose the disk when its last port is taken away.",
         "unassign volume name db1 port-name 100g-1/2", "Hosts that use the volume lose this path.", ""},
        {Id::allow_host, "allow",
         {{"host", ArgType::host, "NQN", "the host's NQN (/etc/nvme/hostnqn there), or any", required}, volume_param("volume"), in_group()},
         "let a host connect to a volume",
         "A new volume is served to no host. \"any\" lets every host connect that reaches the port.",
         "allow host nqn.2014-08.org.nvmexpress:uuid:0f01… to volume db1", "", "to"},
        {Id::disallow_host, "disallow",
         {{"host", ArgType::host, "NQN", "the host's NQN, or any", required}, volume_param("volume"), in_group()},
         "take a host's permission away", "A host that is connected stays connected until it disconnects.",
         "disallow host any to volume db1", "", "to from"},
        {Id::failover, "failover", path_params(), "make the standby path active",
         "Of one volume; of every volume of a group; or of every volume that is active on a port or on a controller's ports. Nothing is interrupted: hosts are "
         "told that the other path is the better one now. It stays so, over restarts too, until failback.",
         "failover volume db1", "", ""},
        {Id::failback, "failback", path_params(), "make the preferred path active again",
         "Of one volume, of a group's, of those that prefer a port or a controller's ports, or of all. Going back is always manual.",
         "failback controller 1", "", ""},
        {Id::configure_controller, "configure controller",
         {controller_param(required),
          {"protocol", ArgType::choice, "PROTOCOL", "what its ports speak: NVMe over RoCE, or over TCP", required, false, 0, 0, {"roce", "tcp"}}},
         "choose a controller's protocol",
         "A controller that serves volumes refuses and lists them. The choice is kept in /var/lib/pav/state.json and goes before "
         "the configuration file, which no command ever writes.",
         "configure controller id 11 protocol roce", "", ""},
        {Id::grow_volume, "grow volume", {volume_param(), in_group(), size_param("the new size")}, "make a volume larger, online",
         "Connected hosts are told the new size.", "grow volume name db1 size 200 GB", "", ""},
        {Id::rename_volume, "rename volume",
         {volume_param(), in_group(), {"new-name", ArgType::name, "W", "the new name", required}}, "give a volume another name",
         "Hosts notice nothing: they know it by its Device Serial.", "rename volume name db1 new-name db-old", "", ""},
        {Id::delete_volume, "delete volume", {volume_param(), in_group()}, "delete a volume and its data",
         "It is first taken from the ports that serve it.", "delete volume name db1 --yes", "All data of the volume is lost.", ""},
        {Id::delete_group, "delete group", {{group_param("name", required)}}, "delete an empty group and release its drives",
         "Refused while it has volumes.", "delete group name MG1 --yes", "The group's drives are released and their superblocks wiped.", ""},
        {Id::import_group, "import group",
         {{"name", ArgType::group, "G", "only this group; without it, all that are found", false, true},
          zone_param("the zone that shall own it here"),
          {"drives", ArgType::drives, "DRIVE…", "look at these only; without them, at every drive (options.drives of the file)"},
          {"takeover", ArgType::flag, "", "take the group from another host that has it open; --takeover is the same"}},
         "open groups that are on this machine's drives",
         "Volumes are served again as they were before, on the ports of the same names. A group that another host has open is refused, and "
         "that host named. One that was closed opens at once, one that this machine left open when it crashed after about 4 seconds, one "
         "that another host left open after about 15 in which that host was seen to be silent. takeover cuts a living host off: it stops writing, its "
         "users get errors; use it when that host cannot be reached.", "import group name MG1", "", ""},
        {Id::export_group, "export group", {group_param("name", required, true)}, "close a group, so that its drives can go to another host",
         "Its volumes are no longer served. restore leaves it closed; import group opens it again. Of a group whose drives are gone for good: "
         "restore no longer waits for them.", "export group name MG1 --yes",
         "Hosts that use the group's volumes lose them.", ""},
        {Id::checkpoint_group, "checkpoint group", {group_param("name", required, true)}, "write a group's checkpoint now",
         "What follows a checkpoint is replayed when the group is opened; so this shortens the next import.", "checkpoint group name MG1", "", ""},
        {Id::fail_drive, "fail drive",
         {group_param("grpname", required), {"slot", ArgType::number, "N", "the drive's slot (see: show drives)", required, false, 0, PAV_MAX_DRIVES - 1}},
         "take a drive out of use", "Refused where it would lose data.", "fail drive grpname MG1 slot 3 --yes",
         "The drive's data has to be rebuilt afterwards.", ""},
        {Id::wipe_drives, "wipe drives", {{"drives", ArgType::drives, "DRIVE…", "drives of a group that is not open", required, true},
          {"takeover", ArgType::flag, "", "even if another host has that group open, or had when it died; --takeover is the same"}},
         "take drives from a group that is closed for good",
         "For drives that were away when their group was deleted, or whose group is no longer wanted. Only the group's own records on "
         "them are destroyed; a drive of an open group, or one that holds something else, is refused.", "wipe drives /dev/nvme3n1 --yes",
         "Without these drives their group may be impossible to open again.", ""},
        {Id::replace_drive, "replace",
         {drive_param("the drive that goes: its path, or the number of its slot (see: show drives)"), open_group_param(),
          {"with", ArgType::drive, "NEW", "a spare of the group, or an empty drive; without it, any spare"}},
         "put another drive in a drive's place",
         "What the old drive held is rebuilt on the new one in the background, what is most endangered first; show tasks tells how far it is, "
         "--watch waits for the end. A drive that still works is taken out of use at once. A failed drive's place is taken by a spare without "
         "being told.",
         "replace drive /dev/nvme3n1 in group MG1 with /dev/nvme20n1 --yes",
         "The group lacks the drive until the rebuild is done.", "in"},
        {Id::add_drives, "add",
         {{"drives", ArgType::drives, "DRIVE…", "empty drives that make the group larger"},
          {"spares", ArgType::drives, "DRIVE…", "empty drives that become hot spares"}, open_group_param()},
         "let drives join a group, online",
         "A drive that holds anything or is in use is refused by name. Each must be as large as the group's smallest. What was written before stays where "
         "it is; the garbage collector spreads it over all drives as it comes by. A full group is revived at once.",
         "add drives /dev/nvme19n1 /dev/nvme20n1 to group MG1", "", "to"},
        {Id::remove_drive, "remove",
         {drive_param("its path, or the number of its slot"), open_group_param()}, "take a drive from a group, online",
         "A spare leaves at once. What another drive holds is moved to the others first, in the background; show drives tells when it has left. Refused "
         "where fewer than four drives, or too little room, would be left.",
         "remove drive /dev/nvme3n1 from group MG1 --yes", "The group has one drive less afterwards.", "from"},
        {Id::return_drive, "return",
         {{"drive", ArgType::drive, "D", "its path as it is now; without it, every drive that is found"}},
         "take drives back into their groups that were away",
         "A drive that was pulled and put back, or came late, gets back what it missed by a rebuild; nothing on it is trusted. A drive that was "
         "taken out of use for errors, or whose place another has taken, does not come back. udev runs this whenever an NVMe drive appears.",
         "return drive /dev/nvme3n1", "", ""},
        {Id::scrub_group, "scrub",
         {{"group", ArgType::group, "G", "the media group; without it, all"}, {"stop", ArgType::flag, "", "end it where it is"}},
         "read and verify everything in use, and heal what is wrong",
         "In the background, at a limited rate (module parameters rebuild_rate_min and rebuild_rate_max); goes on after a restart. The timer "
         "pav-scrub.timer begins one each month.",
         "scrub group MG1", "", ""},
        {Id::restore, "restore", {}, "bring everything back, as after a boot",
         "Loads the modules, opens every group that is found, waits for drives of groups that this host had, interfaces and addresses that "
         "are not there yet (--wait SECONDS, by default options.wait of the file, 120) and says for which, and serves all volumes as recorded. What "
         "is right already is not touched. Ends with 3 when something had to be left out.",
         "restore --wait 60", "", ""},
        {Id::show_groups, "show groups", {group_param("name", false, true)}, "media groups: status, space, and when it will be full",
         "Status is Faulted, Full, Rebuilding, Degraded, Overprovisioned (volumes of more than the capacity), or Online. Logical is what volumes promise, "
         "Physical what was written and not given back (discard, fstrim, write-zeroes give back), Capacity what the group can hold. Full In "
         "is Free at the rate of the last day, or since the group was opened.", "show groups", "", ""},
        {Id::show_drives, "show drives", {group_param("grpname", false)}, "the groups' drives and their state",
         "Drives of groups that are not open are listed as such.", "show drives grpname MG1", "", ""},
        {Id::show_tasks, "show tasks", {{"group", ArgType::group, "G", "the media group"}}, "rebuild and scrub: how far, how fast, how long still",
         "With --watch: goes on, with a line of progress, until nothing runs any more, or --wait SECONDS have passed. Ends with 3 if something "
         "is beyond repair, or still runs.",
         "show tasks --watch", "", ""},
        {Id::show_volumes, "show volumes", {group_param("grpname", false)}, "volumes: size, status, serial, ports", "", "show volumes", "", ""},
        {Id::show_volume, "show volume", {volume_param(), in_group()}, "everything about one volume", "", "show volume name db1", "", ""},
        {Id::show_controllers, "show controllers", {}, "controllers: zone, protocol, ports, volumes", "", "show controllers", "", ""},
        {Id::show_ports, "show ports", {}, "ports: address, speed, state, preferred and active volumes", "", "show ports", "", ""},
        {Id::show_hosts, "show hosts", {}, "which hosts may connect to which volumes", "", "show hosts", "", ""},
        {Id::show_status, "show status", {}, "is all well? What is not, and what to do about it",
         "Ends with 3 when something needs attention: a group that is faulted, full or degraded, a drive that failed, what is beyond repair, something "
         "recorded that cannot be served, or nvmet that differs from what is recorded.", "show status", "", ""},
        {Id::show_events, "show events", {{"seconds", ArgType::number, "N", "stop after so long; without it, run until interrupted", false, false, 1, 86400}},
         "what happens, as it happens: drives failing, space running out", "", "show events", "", ""},
        {Id::show_mapped_network, "show volume-mapped-network",
         {{"name", ArgType::choice, "KIND", "the protocol", required, false, 0, 0, {"nvmeroce", "nvmetcp"}}},
         "which volume is served at which MAC and IP address, slot and controller", "", "show volume-mapped-network name nvmeroce", "", ""},
        {Id::help, "help", {}, "this list; help COMMAND explains one", "", "help create volume", "", ""},
    };
    return table;
}

}  // namespace pav::cli
