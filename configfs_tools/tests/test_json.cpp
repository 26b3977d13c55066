// SPDX-License-Identifier: GPL-2.0
//
// The desired state as text: what is understood, and how precisely mistakes are told. The record of what is ours.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "pav/nvmet.hpp"

namespace pav::nvmet::test {
namespace {

const std::string example = R"({
  "subsystems": {
    "GB00051104bbf912": {
      "serial": "GB00051104bbf912",
      "model": "PVL-1",
      "cntlid_min": 1, "cntlid_max": 32767,
      "allowed_hosts": ["nqn.host"],
      "namespaces": {
        "1": {"device": "/dev/pav/g/v", "uuid": "6A1F3C2E-0001-4000-8000-000000000001",
              "nguid": "6a1f3c2e000140008000000000000001", "ana_group": 2}
      }
    }
  },
  "ports": {
    "1": {"trtype": "rdma", "traddr": "10.0.1.1", "ana_groups": {"2": "optimized"}, "subsystems": ["GB00051104bbf912"]},
    "2": {"trtype": "tcp", "traddr": "fd00::1", "trsvcid": "4421", "attributes": {"param_max_queue_size": "128"}}
  }
})";

TEST(Json, the_example)
{
    auto s = parse_state(example);
    ASSERT_TRUE(s.ok()) << s.error().to_text();
    EXPECT_EQ(s->hosts, std::set<std::string>{"nqn.host"});
    const auto &ns = s->subsystems.at("GB00051104bbf912").namespaces.at(1);
    EXPECT_EQ(ns.uuid, "6a1f3c2e-0001-4000-8000-000000000001");
    EXPECT_EQ(ns.nguid, "6a1f3c2e-0001-4000-8000-000000000001");
    EXPECT_TRUE(ns.enable);
    EXPECT_EQ(s->ports.at(1).adrfam, "ipv4");
    EXPECT_EQ(s->ports.at(2).adrfam, "ipv6");
    EXPECT_EQ(s->ports.at(1).trsvcid, "4420");
    EXPECT_EQ(s->ports.at(1).ana_groups.at(1), AnaState::optimized);

    auto again = parse_state(to_json(*s));
    ASSERT_TRUE(again.ok()) << again.error().to_text();
    EXPECT_EQ(*again, *s);
}

TEST(Json, syntax_errors_have_a_line_and_a_column)
{
    auto r = parse_state("{\n  \"ports\": {,}\n}");
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.error().object, "line 2, column 13");
    EXPECT_FALSE(parse_state("").ok());
    EXPECT_FALSE(parse_state("\xff\xfe").ok());
    EXPECT_FALSE(parse_state(std::string(100000, '[')).ok());
}

struct Mistake {
    const char *from, *to;  // in the example
    const char *pointer, *words;
};

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, are_told_with_their_place)
{
    const Mistake &m = GetParam();
    std::string text = example;
    auto at = text.find(m.from);
    ASSERT_NE(at, std::string::npos) << m.from;
    text.replace(at, std::string(m.from).size(), m.to);
    auto r = parse_state(text);
    ASSERT_FALSE(r.ok()) << m.to;
    EXPECT_EQ(r.error().object, m.pointer) << r.error().to_text();
    EXPECT_NE(r.error().to_text().find(m.words), std::string::npos) << r.error().to_text();
}

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    testing::Values(
        Mistake{"\"model\"", "\"modle\"", "/subsystems/GB00051104bbf912/modle", "known here: serial, model"},
        Mistake{"\"ports\"", "\"prots\"", "/prots", "an unknown key"},
        Mistake{"\"serial\": \"GB00051104bbf912\"", "\"serial\": \"123456789012345678901\"",
                "/subsystems/GB00051104bbf912/serial", "21 characters, 1 to 20"},
        Mistake{"\"serial\": \"GB00051104bbf912\"", "\"serial\": 7", "/subsystems/GB00051104bbf912/serial", "a string is needed"},
        Mistake{"\"serial\": \"GB00051104bbf912\"", "\"serial\": \"x \"", "/subsystems/GB00051104bbf912/serial", "blank"},
        Mistake{"PVL-1", "PVL-4567890123456789012345678901234567890", "/subsystems/GB00051104bbf912/model", "1 to 40"},
        Mistake{"\"cntlid_min\": 1", "\"cntlid_min\": 40000", "/subsystems/GB00051104bbf912/cntlid_min", "above cntlid_max"},
        Mistake{"\"cntlid_min\": 1", "\"cntlid_min\": 0", "/subsystems/GB00051104bbf912/cntlid_min", "1 to 65519"},
        Mistake{"\"cntlid_min\": 1", "\"cntlid_min\": -1", "/subsystems/GB00051104bbf912/cntlid_min", "out of range"},
        Mistake{"\"cntlid_min\": 1", "\"allow_any_host\": true", "/subsystems/GB00051104bbf912/allow_any_host", "excludes"},
        Mistake{"\"cntlid_min\": 1", "\"attributes\": {\"attr_serial\": \"x\"}",
                "/subsystems/GB00051104bbf912/attributes/attr_serial", "key of its own"},
        Mistake{"\"cntlid_min\": 1", "\"attributes\": {\"../x\": \"1\"}", "/subsystems/GB00051104bbf912/attributes/..~1x",
                "not an attribute"},
        Mistake{"\"1\": {\"device\"", "\"01\": {\"device\"", "/subsystems/GB00051104bbf912/namespaces/01", "not a namespace number"},
        Mistake{"\"1\": {\"device\"", "\"0\": {\"device\"", "/subsystems/GB00051104bbf912/namespaces/0", "not a namespace number"},
        Mistake{"/dev/pav/g/v", "v", "/subsystems/GB00051104bbf912/namespaces/1/device", "not an absolute path"},
        Mistake{"\"device\": \"/dev/pav/g/v\", ", "", "/subsystems/GB00051104bbf912/namespaces/1/device", "not an absolute path"},
        Mistake{"6A1F3C2E-", "6A1F3C2-", "/subsystems/GB00051104bbf912/namespaces/1/uuid", "32 hexadecimal digits"},
        Mistake{"\"ana_group\": 2", "\"ana_group\": 128", "/subsystems/GB00051104bbf912/namespaces/1/ana_group", "1 to 127"},
        Mistake{"\"ana_group\": 2", "\"ana_group\": 2.5", "/subsystems/GB00051104bbf912/namespaces/1/ana_group", "an integer"},
        Mistake{"\"2\": \"optimized\"", "\"128\": \"optimized\"", "/ports/1/ana_groups/128", "1 to 127"},
        Mistake{"\"2\": \"optimized\"", "\"2\": \"optimised\"", "/ports/1/ana_groups/2", "not an ANA state"},
        Mistake{"10.0.1.1", "10.0.1", "/ports/1/traddr", "not an IP address"},
        Mistake{"\"rdma\"", "\"loop\"", "/ports/1/trtype", "neither rdma nor tcp"},
        Mistake{"4421", "65536", "/ports/2/trsvcid", "1 to 65535"},
        Mistake{"\"2\": {\"trtype\"", "\"70000\": {\"trtype\"", "/ports/70000", "not a port number"},
        Mistake{"\"tcp\", \"traddr\": \"fd00::1\", \"trsvcid\": \"4421\"", "\"rdma\", \"traddr\": \"10.0.1.1\"", "/ports/2/traddr",
                "port 1 has the same address"},
        Mistake{"[\"GB00051104bbf912\"]", "[\"other\"]", "/ports/1/subsystems", "not among the subsystems"},
        Mistake{"[\"nqn.host\"]", "[\"nqn.host\", \"nqn.host\"]", "/subsystems/GB00051104bbf912/allowed_hosts/1", "listed twice"},
        Mistake{"[\"nqn.host\"]", "[\"a/b\"]", "/subsystems/GB00051104bbf912/allowed_hosts", "cannot be an NQN"},
        Mistake{"\"GB00051104bbf912\": {", "\"a/b\": {", "/subsystems/a~1b", "cannot be an NQN"},
        Mistake{"\"model\": \"PVL-1\"", "\"serial\": \"x\"", "/", "stands twice"}));

TEST(Validate, one_device_twice)
{
    State s;
    s.subsystems["a"].namespaces[1].device_path = "/dev/x";
    s.subsystems["b"].namespaces[1].device_path = "/dev/x";
    auto r = validate(s);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.error().object, "/subsystems/b/namespaces/1/device");
}

TEST(Validate, no_more_namespaces_than_nvmet_takes)
{
    State s;
    for (unsigned i = 1; i <= 1025; i++)
        s.subsystems["a"].namespaces[i].device_path = "/dev/x" + std::to_string(i);
    EXPECT_FALSE(validate(s).ok());
    s.subsystems["a"].namespaces.erase(7);
    EXPECT_TRUE(validate(s).ok());
}

class Record : public testing::Test {
  protected:
    Record()
    {
        std::string name = testing::TempDir() + "pav-nvmet-XXXXXX";
        dir = ::mkdtemp(name.data());
        file = dir + "/sub/owned.json";
    }
    ~Record() override { std::filesystem::remove_all(dir); }
    std::string dir, file;
};

TEST_F(Record, comes_back)
{
    EXPECT_EQ(load_owned(file).value(), Owned{});
    Owned owned;
    owned.ports = {1, 65535};
    owned.subsystems = {"a"};
    owned.hosts = {"h"};
    ASSERT_TRUE(save_owned(file, owned).ok());
    EXPECT_EQ(load_owned(file).value(), owned);
    EXPECT_FALSE(std::filesystem::exists(file + ".new"));
}

TEST_F(Record, damage_is_told_not_forgotten)
{
    ASSERT_TRUE(save_owned(file, {}).ok());
    for (const char *text : {"", "{", "[]", R"({"version":2,"ports":[],"subsystems":[],"hosts":[]})",
                             R"({"version":1,"ports":[70000],"subsystems":[],"hosts":[]})",
                             R"({"version":1,"ports":[-1],"subsystems":[],"hosts":[]})",
                             R"({"version":1,"ports":[],"subsystems":[1],"hosts":[]})"}) {
        std::ofstream(file) << text;
        auto r = load_owned(file);
        ASSERT_FALSE(r.ok()) << text;
        EXPECT_NE(r.error().to_text().find(file), std::string::npos);
    }
}

TEST_F(Record, cannot_be_written)
{
    std::ofstream(dir + "/sub") << "a file";
    EXPECT_FALSE(save_owned(file, {}).ok());
    EXPECT_FALSE(OwnedLock::take(file).ok());
}

TEST_F(Record, devices_are_compared_by_what_they_are)
{
    std::ofstream(dir + "/one") << "x";
    std::filesystem::create_symlink(dir + "/one", dir + "/alias");
    EXPECT_EQ(device_identity(dir + "/one"), device_identity(dir + "/alias"));
    EXPECT_EQ(device_identity(dir + "/none"), std::nullopt);
}

}  // namespace
}  // namespace pav::nvmet::test
