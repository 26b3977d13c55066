// SPDX-License-Identifier: GPL-2.0
//
// The configuration file: the example is good, and each kind of mistake is answered with its line.
#include "pav/config.hpp"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace pav {
namespace {

TEST(Config, TheExampleIsGood) {
    const auto config = load_config(PAV_SOURCE_DIR "/pavcfg/pavcfg.conf.example");
    ASSERT_TRUE(config) << config.error().to_text();
    EXPECT_EQ(config->controllers.size(), 2U);
    EXPECT_EQ(config->ports.size(), 2U);
    EXPECT_EQ(config->port("100g-1/2")->ip, "192.168.20.1");
    EXPECT_EQ(config->port("100g-1/2")->trsvcid, "4420");
    EXPECT_EQ(config->wait_seconds, 120U);
    EXPECT_EQ(config->protocol_of(*config->port("100g-1/1")), Protocol::roce);
}

TEST(Config, AMissingFileSaysWhatToDo) {
    const auto config = load_config("/nonexistent/pavcfg.conf");
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().err, ENOENT);
    EXPECT_NE(config.error().remedy.find("pavcfg.conf.example"), std::string::npos);
}

struct Mistake {
    const char *name;
    const char *text;
    int line;
    const char *says;
};
void PrintTo(const Mistake &mistake, std::ostream *out) { *out << mistake.name; }

#define ZONE "zones: ( { id = 1; } );\n"
#define CTRL "controllers: ( { id = 1; zone = 1; protocol = \"roce\"; } );\n"
#define PORT(body) ZONE CTRL "ports: (\n { " body " } );\n"

const Mistake mistakes[] = {
    {"syntax", "zones: (\n { id = 1 \n } );\ncontrollers = ;\n", 4, "syntax error"},
    {"unknown setting", ZONE "controlers: ( );\n", 2, "did you mean \"controllers\""},
    {"unknown setting of a port", PORT("nam = \"100g-1/1\";"), 4, "did you mean \"name\""},
    {"no zone", "controllers: ( );\n", 0, "no zone"},
    {"no controller", ZONE, 0, "no controller"},
    {"zone 5", "zones: (\n{ id = 5; } );\n", 2, "use 1 to 4"},
    {"zone twice", "zones: (\n{ id = 1; },\n{ id = 1; } );\n", 3, "twice"},
    {"zone is text", "zones: (\n{ id = \"1\"; } );\n", 2, "must be a number"},
    {"zones is a group", "zones: { id = 1; };\n", 1, "must be a list"},
    {"zone is no group", "zones: ( 1 );\n", 1, "must be a group"},
    {"controller 21", ZONE "controllers: (\n{ id = 21; zone = 1; protocol = \"tcp\"; } );\n", 3, "use 1 to 20"},
    {"controller in no zone", ZONE "controllers: (\n{ id = 1; zone = 2; protocol = \"tcp\"; } );\n", 3, "not in zones"},
    {"controller twice", ZONE "controllers: (\n{ id = 1; zone = 1; protocol = \"tcp\"; },\n{ id = 1; zone = 1; protocol = \"tcp\"; } );\n", 4, "twice"},
    {"protocol missing", ZONE "controllers: (\n{ id = 1; zone = 1; } );\n", 3, "lacks \"protocol\""},
    {"protocol iscsi", ZONE "controllers: (\n{ id = 1; zone = 1; protocol = \"iscsi\"; } );\n", 3, "not built yet"},
    {"protocol unknown", ZONE "controllers: (\n{ id = 1; zone = 1; protocol = \"fc\"; } );\n", 3, "\"roce\" or \"tcp\""},
    {"port name", PORT("name = \"eth0\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\";"), 4, "SPEEDg-PORT/NUMBER"},
    {"port's number is neither", PORT("name = \"100g-1/7\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\";"), 4, "neither its controller (1) nor its zone (1)"},
    {"port of no controller", PORT("name = \"100g-1/2\"; controller = 2; interface = \"e\"; ip = \"10.0.0.1\";"), 4, "not in controllers"},
    {"port without ip", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\";"), 4, "lacks \"ip\""},
    {"bad ip", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1/24\";"), 4, "not an IP address"},
    {"bad interface", PORT("name = \"100g-1/1\"; controller = 1; interface = \"a/b\"; ip = \"10.0.0.1\";"), 4, "interface's name"},
    {"bad trsvcid", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\"; trsvcid = 70000;"), 4, "1 to 65535"},
    {"port twice", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\"; },\n{ name = \"100g-1/1\"; controller = 1; interface = \"f\"; ip = \"10.0.0.2\";"), 5, "twice"},
    {"address twice", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\"; },\n{ name = \"100g-2/1\"; controller = 1; interface = \"f\"; ip = \"10.0.0.1\";"), 5, "share the address"},
    {"same ordinal", PORT("name = \"100g-1/1\"; controller = 1; interface = \"e\"; ip = \"10.0.0.1\"; },\n{ name = \"25g-1/1\"; controller = 1; interface = \"f\"; ip = \"10.0.0.2\";"), 5, "both port 1 of controller 1"},
    {"model", "array: {\n model = \"Linux\"; };\n" ZONE CTRL, 2, "PVL-"},
    {"prefix", "array: {\n serial_prefix = \"GB0 \"; };\n" ZONE CTRL, 2, "serial_prefix"},
    {"a prefix no serial can have", "array: {\n serial_prefix = \"_GB\"; };\n" ZONE CTRL, 2, "letters and digits"},
    {"greedy prefix", "array: {\n serial_prefix = \"nqn\"; };\n" ZONE CTRL, 2, "claims"},
    {"nqn form", "array: {\n nqn = \"eui\"; };\n" ZONE CTRL, 2, "uuid"},
    {"wait", "options: {\n wait = -1; };\n" ZONE CTRL, 2, "use 0 to 3600"},
    {"drives", "options: {\n drives = \"/dev/sda\"; };\n" ZONE CTRL, 2, "array of texts"},
    {"drive pattern", "options: {\n drives = [ \"sda\" ]; };\n" ZONE CTRL, 2, "/dev/"},
};

class ConfigMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, IsAnsweredWithItsLine) {
    const auto &mistake = GetParam();
    const auto config = parse_config(mistake.text, "pavcfg.conf");
    ASSERT_FALSE(config);
    const std::string text = config.error().to_text();
    EXPECT_NE(text.find("pavcfg.conf:" + std::to_string(mistake.line)), std::string::npos) << text;
    EXPECT_NE(text.find(mistake.says), std::string::npos) << text;
    EXPECT_FALSE(config.error().remedy.empty()) << text;
}

INSTANTIATE_TEST_SUITE_P(Table, ConfigMistake, testing::ValuesIn(mistakes), [](const auto &info) {
    std::string name = info.param.name;
    for (char &c : name)
        if (!isalnum(static_cast<unsigned char>(c))) c = '_';
    return name;
});

}  // namespace
}  // namespace pav
