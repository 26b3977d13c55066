// SPDX-License-Identifier: GPL-2.0
//
// Attributes to values. Whatever the bytes are, nothing outside of them is read; an attribute of the wrong size is skipped,
// an unknown one ignored, so that a newer module can be read.
#include "attributes.hpp"
#include "pav/netlink.hpp"
#include "pav_netlink.h"

namespace pav {

namespace {

void counter(Bytes bytes, Counters &counters) {
    std::string name;
    std::uint64_t value = 0;
    for_each(bytes, [&](const Attribute &a) {
        if (a.type == PAV_A_COUNTER_NAME) name = a.text();
        if (a.type == PAV_A_COUNTER_VALUE) a.take(value);
    });
    if (!name.empty()) counters[name] = value;
}

void drive_field(const Attribute &a, Drive &drive) {
    switch (a.type) {
    case PAV_A_DRIVE_PATH: drive.path = a.text(); break;
    case PAV_A_DRIVE_SLOT: a.take(drive.slot); break;
    case PAV_A_DRIVE_UUID: a.take(drive.uuid); break;
    case PAV_A_DRIVE_STATE: a.take_enum(drive.state, PAV_DRIVE_REBUILDING); break;
    case PAV_A_DRIVE_BYTES: a.take(drive.bytes); break;
    case PAV_A_COUNTER: counter(a.payload, drive.counters); break;
    default: break;
    }
}

Task task(Bytes bytes) {
    Task task;
    for_each(bytes, [&](const Attribute &a) {
        switch (a.type) {
        case PAV_A_TASK_KIND: a.take_enum(task.kind, PAV_TASK_SCRUB); break;
        case PAV_A_TASK_RUNNING: task.running = true; break;
        case PAV_A_TASK_DONE: a.take(task.done); break;
        case PAV_A_TASK_TOTAL: a.take(task.total); break;
        case PAV_A_TASK_REBUILT: a.take(task.rebuilt_bytes); break;
        case PAV_A_TASK_HEALED: a.take(task.healed_bytes); break;
        case PAV_A_TASK_LOST: a.take(task.lost); break;
        case PAV_A_TASK_STARTED: a.take(task.started); break;
        case PAV_A_TASK_FINISHED: a.take(task.finished); break;
        case PAV_A_TASK_SECONDS: a.take(task.seconds); break;
        case PAV_A_TASK_RATE: a.take(task.rate); break;
        default: break;
        }
    });
    return task;
}

}  // namespace

Group parse_group(Bytes attributes) {
    Group group;
    for_each(attributes, [&](const Attribute &a) {
        switch (a.type) {
        case PAV_A_GROUP: group.name = a.text(); break;
        case PAV_A_GROUP_UUID: a.take(group.uuid); break;
        case PAV_A_GROUP_STATE: a.take_enum(group.state, PAV_GROUP_FAULTED); break;
        case PAV_A_DATA_DRIVES: a.take(group.data_drives); break;
        case PAV_A_SEGMENT_BYTES: a.take(group.segment_bytes); break;
        case PAV_A_RESERVE_PERCENT: a.take(group.reserve_percent); break;
        case PAV_A_CAPACITY: a.take(group.capacity_bytes); break;
        case PAV_A_USED: a.take(group.used_bytes); break;
        case PAV_A_FREE: a.take(group.free_bytes); break;
        case PAV_A_PROVISIONED: a.take(group.provisioned_bytes); break;
        case PAV_A_GENERATION: a.take(group.generation); break;
        case PAV_A_STRIPE_SEQ: a.take(group.stripe_seq); break;
        case PAV_A_USED_BEFORE: a.take(group.used_before_bytes); break;
        case PAV_A_USED_SECONDS: a.take(group.used_seconds); break;
        case PAV_A_TASK: group.tasks.push_back(task(a.payload)); break;
        case PAV_A_COUNTER: counter(a.payload, group.counters); break;
        default: break;
        }
    });
    return group;
}

Drive parse_drive(Bytes attributes) {
    Drive drive;
    for_each(attributes, [&](const Attribute &a) {
        if (a.type == PAV_A_DRIVE)
            for_each(a.payload, [&](const Attribute &inner) { drive_field(inner, drive); });
        else
            drive_field(a, drive);
    });
    return drive;
}

Volume parse_volume(Bytes attributes) {
    Volume volume;
    for_each(attributes, [&](const Attribute &a) {
        switch (a.type) {
        case PAV_A_GROUP: volume.group = a.text(); break;
        case PAV_A_VOLUME: volume.name = a.text(); break;
        case PAV_A_VOLUME_ID: a.take(volume.id); break;
        case PAV_A_SIZE: a.take(volume.size_bytes); break;
        case PAV_A_MAPPED: a.take(volume.mapped_bytes); break;
        case PAV_A_SERIAL: volume.serial = a.text(); break;
        case PAV_A_UUID: a.take(volume.uuid); break;
        case PAV_A_NGUID: a.take(volume.nguid); break;
        case PAV_A_OPENERS: a.take(volume.openers); break;
        case PAV_A_BLOCK_DEVICE: volume.block_device = a.text(); break;
        case PAV_A_COUNTER: counter(a.payload, volume.counters); break;
        case PAV_A_PROP: {
            std::string key, value;
            for_each(a.payload, [&](const Attribute &inner) {
                if (inner.type == PAV_A_PROP_KEY) key = inner.text();
                if (inner.type == PAV_A_PROP_VALUE) value = inner.text();
            });
            if (!key.empty()) volume.props[key] = value;
            break;
        }
        default: break;
        }
    });
    return volume;
}

DriveLabel parse_drive_label(Bytes attributes) {
    DriveLabel label;
    const auto field = [&](const Attribute &a) {
        switch (a.type) {
        case PAV_A_GROUP: label.group = a.text(); break;
        case PAV_A_GROUP_UUID: a.take(label.group_uuid); break;
        case PAV_A_DATA_DRIVES: a.take(label.data_drives); break;
        case PAV_A_DRIVES_EXPECTED: a.take(label.expected_drives); break;
        case PAV_A_GENERATION: a.take(label.generation); break;
        case PAV_A_ERROR_TEXT: label.problem = a.text(); break;
        case PAV_A_OWNER_NAME: label.owner = a.text(); break;
        case PAV_A_OWNER_ID: a.take(label.owner_id); break;
        case PAV_A_OWNER_SEEN: a.take(label.owner_seen); break;
        default: drive_field(a, label.drive); break;
        }
    };
    for_each(attributes, [&](const Attribute &a) {
        if (a.type == PAV_A_DRIVE)
            for_each(a.payload, field);
        else
            field(a);
    });
    return label;
}

EngineEvent parse_event(Bytes attributes) {
    static constexpr const char *names[] = {
        "unknown", "group opened", "group closed", "group degraded", "group faulted", "space low", "group full",
        "drive failed", "checksum healed", "data lost", "volume created", "volume deleted", "volume changed",
        "owner stamp late", "group taken over", "drive joined", "drive removed", "rebuild started", "rebuild done", "scrub done"};
    static_assert(std::size(names) == __PAV_EVENT_MAX);
    EngineEvent event;
    event.type = names[0];
    for_each(attributes, [&](const Attribute &a) {
        std::uint32_t small = 0;
        std::uint64_t large = 0;
        switch (a.type) {
        case PAV_A_EVENT_TYPE:
            if (a.take(small) && small <= PAV_EVENT_MAX) event.type = names[small];
            break;
        case PAV_A_GROUP: event.group = a.text(); break;
        case PAV_A_VOLUME: event.volume = a.text(); break;
        case PAV_A_DRIVE_PATH: event.drive_path = a.text(); break;
        case PAV_A_DRIVE_SLOT:
            if (a.take(small)) event.slot = small;
            break;
        case PAV_A_VALUE:
            if (a.take(large)) event.value = large;
            break;
        case PAV_A_EVENT_TEXT: event.text = a.text(); break;
        default: break;
        }
    });
    return event;
}

}  // namespace pav
