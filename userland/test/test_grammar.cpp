// SPDX-License-Identifier: GPL-2.0
//
// The language: every command's own example parses, wrong words are answered with the nearest right one, and help, completion
// and manual follow from the same table.
#include "pavcfg/commands.hpp"

#include <fstream>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

namespace pav::cli {
namespace {

std::vector<std::string> words_of(const std::string &line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        if (!word.starts_with("--") && word != "60") words.push_back(word);  // options are not part of a command
    return words;
}

std::string refusal(const std::string &line) {
    const auto call = parse(words_of(line));
    return call ? "" : call.error().to_text();
}

TEST(Grammar, EveryExampleParsesAsItsCommand) {
    for (const auto &command : commands()) {
        std::string example(command.example);
        for (std::size_t at; (at = example.find("0f01…")) != std::string::npos;) example.replace(at, 7, "0f01");
        const auto call = parse(words_of(example));
        ASSERT_TRUE(call) << example << ": " << call.error().to_text();
        EXPECT_EQ(call->command->id, command.id) << example;
    }
}

TEST(Grammar, EveryCommandSaysWhatIsMissing) {
    for (const auto &command : commands()) {
        bool needs = false;
        for (const auto &param : command.params) needs |= param.required;
        if (!needs) continue;
        const std::string text = refusal(std::string(command.words));
        EXPECT_NE(text.find("missing"), std::string::npos) << command.words;
        EXPECT_NE(text.find(usage(command)), std::string::npos) << "the remedy is the usage: " << text;
    }
}

TEST(Grammar, TheGuidesCommands) {
    const auto create = parse(words_of("create volume name vol size 100 GB grpname zone1"));
    ASSERT_TRUE(create);
    EXPECT_EQ(create->size("size"), 107374182400ULL);
    const auto assign = parse(words_of("assign volume name vol port-name 100g-1/3 preferred"));
    ASSERT_TRUE(assign);
    EXPECT_TRUE(assign->has("preferred"));
    EXPECT_EQ(assign->text("port-name"), "100g-1/3");
    EXPECT_TRUE(parse(words_of("show volume-mapped-network name nvmeroce")));
    const auto controller = parse(words_of("configure controller id 11 protocol roce"));
    ASSERT_TRUE(controller);
    EXPECT_EQ(controller->number("id"), 11U);
}

TEST(Grammar, ParametersInAnyOrderAndListsEndAtKeys) {
    const auto call = parse(words_of("create group drives /dev/a /dev/b spares /dev/c zone 2 name G data 4"));
    ASSERT_TRUE(call) << call.error().to_text();
    EXPECT_EQ(call->list("drives"), (std::vector<std::string>{"/dev/a", "/dev/b"}));
    EXPECT_EQ(call->list("spares"), (std::vector<std::string>{"/dev/c"}));
    EXPECT_EQ(call->number("zone"), 2U);
    EXPECT_EQ(parse(words_of("import group G"))->text("name"), "G") << "the key may be left out";
    EXPECT_EQ(parse(words_of("create volume name v size 100GB grpname G"))->size("size"), 100ULL << 30);
    for (const auto *line : {"allow host any to volume v", "allow host any volume v", "allow volume v host any", "disallow host any from volume v"})
        EXPECT_TRUE(parse(words_of(line))) << line;
}

TEST(Grammar, DrivesComeAndGo) {
    const auto replace = parse(words_of("replace drive /dev/nvme3n1 in group G with /dev/nvme9n1"));
    ASSERT_TRUE(replace) << replace.error().to_text();
    EXPECT_EQ(replace->text("drive"), "/dev/nvme3n1");
    EXPECT_EQ(replace->text("with"), "/dev/nvme9n1");
    EXPECT_TRUE(parse(words_of("replace drive 3 in group G")));
    const auto add = parse(words_of("add drives /dev/a /dev/b spares /dev/c to group G"));
    ASSERT_TRUE(add) << add.error().to_text();
    EXPECT_EQ(add->list("drives"), (std::vector<std::string>{"/dev/a", "/dev/b"}));
    EXPECT_EQ(add->list("spares"), (std::vector<std::string>{"/dev/c"}));
    EXPECT_EQ(add->text("group"), "G");
    EXPECT_TRUE(parse(words_of("remove drive 12 from group G")));
    for (const auto *line : {"return", "return drive /dev/a", "scrub", "scrub group G", "scrub group G stop", "show tasks", "show tasks group G"})
        EXPECT_TRUE(parse(words_of(line))) << line;
}

TEST(Grammar, WrongWordsNameTheNearestRightOne) {
    const std::vector<std::pair<const char *, const char *>> table{
        {"craete volume name v", "did you mean \"create\""},
        {"create volme name v", "did you mean \"create volume\""},
        {"create", "a word is missing: group, volume"},
        {"show volume-mapped-netwrok name nvmeroce", "did you mean \"show volume-mapped-network\""},
        {"create volume nmae v size 1 GB grpname G", "did you mean \"name\""},
        {"create volume name v size 1 GB groupname G", "did you mean \"grpname\""},
        {"assign volume name v port 100g-1/1", "did you mean \"port-name\""},
        {"assign volume name v port-name 100g-1/1 prefered", "did you mean \"preferred\""},
        {"assign volume name v port-name eth0", "SPEEDg-PORT/NUMBER"},
        {"configure controller id 11 protocol rocev2", "did you mean \"roce\""},
        {"configure controller id 11 protocol iscsi", "one of: roce, tcp"},
        {"configure controller id 21 protocol tcp", "number from 1 to 20"},
        {"configure controller id x protocol tcp", "number from 1 to 20"},
        {"show volume-mapped-network name nvmerocé", "one of: nvmeroce, nvmetcp"},
        {"create volume name v name w size 1 GB grpname G", "it is there twice"},
        {"create volume name v size 1 XB grpname G", "unit \"XB\""},
        {"create volume name v size 1", "no unit"},
        {"create volume name v size grpname G", "unit"},
        {"create volume name -v size 1 GB grpname G", "begin with a letter"},
        {"create group name G drives nvme0n1", "named by its path"},
        {"create group name G drives spares /dev/a", "drives"},
        {"allow host myhost to volume v", "begins with \"nqn.\""},
        {"show ports extra", "does not belong here"},
        {"delete volume name", "follows it"},
        {"replace drive nvme3n1 in group G", "by the number of its slot"},
        {"replace drive 3 into group G", "replace drive D in group G [with NEW]"},
        {"replace drive 3", "missing: group G"},
        {"remove group G", "missing: drive D"},
        {"add drives to group G", "follows it"},
        {"add drives /dev/a nvme1n1 to group G", "named by its path"},
        {"scrub group G halt", "does not belong here"},
        {"frobnicate", "no such command"},
    };
    for (const auto &[line, says] : table) EXPECT_NE(refusal(line).find(says), std::string::npos) << line << " → " << refusal(line);
}

TEST(Grammar, HelpTeaches) {
    const std::string all = help_for({});
    for (const auto &command : commands()) EXPECT_NE(all.find(command.words), std::string::npos) << command.words;
    EXPECT_NE(all.find("GB is 1024^3"), std::string::npos);  // R7
    const std::string one = help_for({"assign", "volume"});
    EXPECT_NE(one.find("Example: pavcfg assign volume"), std::string::npos);
    EXPECT_NE(help_for({"create"}).find("create group"), std::string::npos);
    EXPECT_TRUE(help_for({"nonsense"}).empty());
}

TEST(Grammar, TheManualsCommandsAreTheTables) {
    std::ifstream file(PAV_SOURCE_DIR "/pavcfg/pavcfg.8");
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find(manual_section()), std::string::npos) << "pavcfg.8 is behind: put the output of `pavcfg manual` into it";
}

std::set<std::string> completion(const std::string &words, const std::string &partial) {
    const auto found = complete(words_of(words), partial, [](ArgType type) -> std::vector<std::string> {
        if (type == ArgType::volume) return {"v1", "v2"};
        if (type == ArgType::port) return {"100g-1/1"};
        if (type == ArgType::drives) return {"/dev/nvme0n1"};
        return {};
    });
    return {found.begin(), found.end()};
}

TEST(Completion, FollowsTheTable) {
    using Set = std::set<std::string>;
    EXPECT_EQ(completion("", "re"), (Set{"remove", "rename", "replace", "restore", "return"}));
    EXPECT_EQ(completion("create", ""), (Set{"group", "volume"}));
    EXPECT_EQ(completion("assign volume", "p"), (Set{"port-name", "preferred"}));
    EXPECT_EQ(completion("assign volume name", ""), (Set{"v1", "v2"}));
    EXPECT_EQ(completion("assign volume name v1 port-name", "1"), (Set{"100g-1/1"}));
    EXPECT_EQ(completion("assign volume name v1 port-name 100g-1/1", ""), (Set{"grpname", "preferred"}));
    EXPECT_EQ(completion("create volume name v size 1", ""), (Set{"GB", "MB", "TB"}));
    EXPECT_EQ(completion("create volume name v size 1 GB", ""), (Set{"grpname", "nqn"}));
    EXPECT_EQ(completion("configure controller id 1 protocol", ""), (Set{"roce", "tcp"}));
    EXPECT_EQ(completion("create group name g drives /dev/x", ""), (Set{"/dev/nvme0n1", "spares", "zone", "data", "reserve"}));
    EXPECT_EQ(completion("replace", ""), (Set{"drive", "group", "with"}));
    EXPECT_EQ(completion("add drives /dev/a to group g spares", "/"), (Set{"/dev/nvme0n1"}));
    EXPECT_EQ(completion("help show", "po"), (Set{"ports"}));
    EXPECT_EQ(completion("create", "--j"), (Set{"--json"}));
}

}  // namespace
}  // namespace pav::cli
