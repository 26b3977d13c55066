// SPDX-License-Identifier: GPL-2.0
//
// Reading the module's answers: right ones, and any bytes at all.
#include "pav/netlink.hpp"

#include <linux/netlink.h>

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "pav_netlink.h"

namespace pav {
namespace {

using Message = std::vector<std::byte>;

void put(Message &to, std::uint16_t type, const void *data, std::size_t size) {
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + size), type};
    const auto at = to.size();
    to.resize(at + NLA_ALIGN(sizeof(nlattr) + size));
    std::memcpy(to.data() + at, &header, sizeof(header));
    if (size) std::memcpy(to.data() + at + sizeof(header), data, size);
}
void put(Message &to, std::uint16_t type, const std::string &text) { put(to, type, text.c_str(), text.size() + 1); }
template <class T> void put_number(Message &to, std::uint16_t type, T value) { put(to, type, &value, sizeof(value)); }
void nest(Message &to, std::uint16_t type, const Message &inner) { put(to, type | NLA_F_NESTED, inner.data(), inner.size()); }

Message a_volume() {
    Message m, prop, counter;
    put(m, PAV_A_GROUP, "MG1");
    put(m, PAV_A_VOLUME, "v1");
    put_number<std::uint32_t>(m, PAV_A_VOLUME_ID, 7);
    put(m, PAV_A_PAD, nullptr, 0);
    put_number<std::uint64_t>(m, PAV_A_SIZE, 1ULL << 40);
    put(m, PAV_A_SERIAL, "GB00051104bbf912");
    put_number(m, PAV_A_UUID, Uuid{1, 2, 3});
    put(m, PAV_A_BLOCK_DEVICE, "pav3");
    put(prop, PAV_A_PROP_KEY, "export.ports");
    put(prop, PAV_A_PROP_VALUE, "100g-1/1");
    nest(m, PAV_A_PROP, prop);
    put(counter, PAV_A_COUNTER_NAME, "reads");
    put_number<std::uint64_t>(counter, PAV_A_COUNTER_VALUE, 42);
    nest(m, PAV_A_COUNTER, counter);
    put_number<std::uint32_t>(m, 999, 1);  // of a newer module
    return m;
}

TEST(Parse, AVolume) {
    const Volume v = parse_volume(a_volume());
    EXPECT_EQ(v.full_name(), "MG1/v1");
    EXPECT_EQ(v.id, 7U);
    EXPECT_EQ(v.size_bytes, 1ULL << 40);
    EXPECT_EQ(v.uuid[2], 3);
    EXPECT_EQ(v.props.at("export.ports"), "100g-1/1");
    EXPECT_EQ(v.counters.at("reads"), 42U);
}

TEST(Parse, AProbedDriveAndOneWithoutASuperblock) {
    Message with, without, drive;
    put(drive, PAV_A_DRIVE_PATH, "/dev/nvme0n1");
    put(drive, PAV_A_GROUP, "MG1");
    put_number<std::uint32_t>(drive, PAV_A_DATA_DRIVES, 16);
    put_number<std::uint32_t>(drive, PAV_A_DRIVE_STATE, PAV_DRIVE_SPARE);
    put(drive, PAV_A_OWNER_NAME, "beta");
    put_number(drive, PAV_A_OWNER_ID, Uuid{7});
    put_number<std::uint64_t>(drive, PAV_A_OWNER_SEEN, 1700000000);
    nest(with, PAV_A_DRIVE, drive);
    const auto label = parse_drive_label(with);
    EXPECT_EQ(label.group, "MG1");
    EXPECT_EQ(label.data_drives, 16U);
    EXPECT_EQ(label.drive.state, DriveState::spare);
    EXPECT_EQ(label.owner, "beta");
    EXPECT_EQ(label.owner_id[0], 7);
    EXPECT_EQ(label.owner_seen, 1700000000U);
    put(without, PAV_A_ERROR_TEXT, "no superblock");
    EXPECT_FALSE(parse_drive_label(without).has_group());
    EXPECT_EQ(parse_drive_label(without).problem, "no superblock");
}

TEST(Parse, WrongSizesAndValuesAreLeftOut) {
    Message m;
    put_number<std::uint64_t>(m, PAV_A_GROUP_STATE, 1);          // 8 bytes where 4 belong
    put_number<std::uint32_t>(m, PAV_A_CAPACITY, 5);             // 4 where 8 belong
    put(m, PAV_A_GROUP_UUID, "short");
    put(m, PAV_A_GROUP, "G", 1);                                 // not terminated
    const Group g = parse_group(m);
    EXPECT_EQ(g.state, GroupState::online);
    EXPECT_EQ(g.capacity_bytes, 0U);
    EXPECT_TRUE(is_nil(g.uuid));
    EXPECT_EQ(g.name, "G");
    Message state;
    put_number<std::uint32_t>(state, PAV_A_DRIVE_STATE, 77);
    EXPECT_EQ(parse_drive(state).state, DriveState::empty);
}

TEST(Parse, AnyBytesAtAll) {  // the sanitizers watch
    std::mt19937 random(1);
    const Message good = a_volume();
    for (int round = 0; round < 20000; round++) {
        Message bytes = good;
        bytes.resize(random() % (good.size() + 1));
        for (int flips = static_cast<int>(random() % 8); flips > 0 && !bytes.empty(); flips--) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        const Message exact(bytes);  // its own allocation: reading past it is seen
        parse_volume(exact);
        parse_group(exact);
        parse_drive(exact);
        parse_drive_label(exact);
        parse_event(exact);
    }
}

TEST(Netlink, WithoutTheModuleOpeningSaysSo) {
    const auto engine = open_kernel_engine();
    if (engine) GTEST_SKIP() << "the module is loaded here";
    EXPECT_EQ(engine.error().err, ENOENT) << engine.error().to_text();
    EXPECT_NE(engine.error().remedy.find("modprobe pavraid"), std::string::npos);
}

}  // namespace
}  // namespace pav
