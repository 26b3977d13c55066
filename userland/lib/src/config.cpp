// SPDX-License-Identifier: GPL-2.0
#include "pav/config.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <libconfig.h++>

namespace pav {

namespace {

using libconfig::Setting;

// Thrown inside this file only, and caught at its border: libconfig++ itself throws, so one way of failing is enough here.
struct Refused {
    Error error;
};

class Reader {
  public:
    explicit Reader(const std::string &file) { config_.file = file; }

    Config read(const Setting &root) {
        only(root, "the file", {"array", "zones", "controllers", "ports", "options"});
        if (root.exists("array")) array(root["array"]);
        if (root.exists("options")) options(root["options"]);
        for_each(root, "zones", [this](const Setting &s) { zone(s); });
        for_each(root, "controllers", [this](const Setting &s) { controller(s); });
        for_each(root, "ports", [this](const Setting &s) { port(s); });
        if (config_.zones.empty()) refuse(root, "there is no zone", "add zones: ( { id = 1; } );");
        if (config_.controllers.empty())
            refuse(root, "there is no controller", "add controllers: ( { id = 1; zone = 1; protocol = \"roce\"; } );");
        if (config_.drive_patterns.empty()) config_.drive_patterns = {"/dev/nvme*n*"};
        return std::move(config_);
    }

  private:
    [[noreturn]] void refuse(const Setting &at, std::string reason, std::string remedy) const {
        throw Refused{{"read the configuration", fmt::format("{}:{}", config_.file, at.getSourceLine()), 0,
                       std::move(reason), std::move(remedy)}};
    }

    static std::string path(const Setting &s) { return s.getPath().empty() ? "the file" : s.getPath(); }

    void only(const Setting &group, const std::string &where, const std::vector<std::string> &known) const {
        if (!group.isGroup()) refuse(group, fmt::format("{} must be a group in braces", where), "write { … }");
        for (int i = 0; i < group.getLength(); i++) {
            const std::string name = group[i].getName();
            if (std::find(known.begin(), known.end(), name) != known.end()) continue;
            const auto near = nearest(name, known);
            refuse(group[i], fmt::format("\"{}\" is not a setting of {}", name, where),
                   near ? fmt::format("did you mean \"{}\"?", *near)
                        : fmt::format("known are: {}", fmt::join(known, ", ")));
        }
    }

    template <class F> void for_each(const Setting &root, const char *name, F f) {
        if (!root.exists(name)) return;
        const Setting &list = root[name];
        if (!list.isList())
            refuse(list, fmt::format("\"{}\" must be a list", name), fmt::format("write {}: ( {{ … }}, {{ … }} );", name));
        for (int i = 0; i < list.getLength(); i++) f(list[i]);
    }

    const Setting *find(const Setting &group, const char *name) const {
        return group.exists(name) ? &group[name] : nullptr;
    }

    std::string text(const Setting &group, const char *name, std::optional<std::string> otherwise = std::nullopt) const {
        const Setting *s = find(group, name);
        if (!s) {
            if (otherwise) return *otherwise;
            refuse(group, fmt::format("{} lacks \"{}\"", path(group), name), fmt::format("add {} = \"…\";", name));
        }
        if (s->getType() != Setting::TypeString)
            refuse(*s, fmt::format("\"{}\" must be a text", name), fmt::format("write {} = \"…\";", name));
        return static_cast<const char *>(*s);
    }

    unsigned number(const Setting &group, const char *name, unsigned low, unsigned high,
                    std::optional<unsigned> otherwise = std::nullopt) const {
        const Setting *s = find(group, name);
        if (!s) {
            if (otherwise) return *otherwise;
            refuse(group, fmt::format("{} lacks \"{}\"", path(group), name), fmt::format("add {} = {};", name, low));
        }
        if (s->getType() != Setting::TypeInt && s->getType() != Setting::TypeInt64)
            refuse(*s, fmt::format("\"{}\" must be a number", name), fmt::format("write {} = {};", name, low));
        const long long value = s->getType() == Setting::TypeInt ? static_cast<int>(*s) : static_cast<long long>(*s);
        if (value < low || value > high)
            refuse(*s, fmt::format("\"{}\" is {}", name, value), fmt::format("use {} to {}", low, high));
        return static_cast<unsigned>(value);
    }

    void array(const Setting &s) {
        only(s, "array", {"serial_prefix", "model", "nqn"});
        config_.serial_prefix = text(s, "serial_prefix", config_.serial_prefix);
        if (const auto good = check_serial(config_.serial_prefix); !good || config_.serial_prefix.size() > 8)
            refuse(s["serial_prefix"], fmt::format("serial_prefix \"{}\" is not possible", config_.serial_prefix),
                   "use 1 to 8 letters and digits, for example \"GB0\"");
        if (config_.serial_prefix.starts_with("nqn"))
            refuse(s["serial_prefix"], "serial_prefix must not begin with \"nqn\": pavcfg claims all names that begin with it",
                   "for example \"GB0\"");
        config_.model = text(s, "model", config_.model);
        if (const auto good = check_model(config_.model); !good)
            refuse(s["model"], fmt::format("model \"{}\": {}", config_.model, good.error().reason), good.error().remedy);
        const std::string form = text(s, "nqn", "serial");
        if (form != "serial" && form != "uuid")
            refuse(s["nqn"], fmt::format("nqn \"{}\" is not known", form),
                   "use \"serial\" (the Device Serial is the NQN) or \"uuid\" (nqn.2014-08.org.nvmexpress:uuid:…)");
        config_.nqn_form = form == "uuid" ? NqnForm::uuid : NqnForm::serial;
    }

    void options(const Setting &s) {
        only(s, "options", {"module", "wait", "drives"});
        config_.module = text(s, "module", "");
        config_.wait_seconds = number(s, "wait", 0, 3600, config_.wait_seconds);
        if (const Setting *patterns = find(s, "drives")) {
            if (!patterns->isArray() || patterns->getLength() == 0 || (*patterns)[0].getType() != Setting::TypeString)
                refuse(*patterns, "\"drives\" must be an array of texts", "write drives = [ \"/dev/nvme*n*\" ];");
            for (int i = 0; i < patterns->getLength(); i++) {
                const std::string pattern = static_cast<const char *>((*patterns)[i]);
                if (!pattern.starts_with("/dev/"))
                    refuse(*patterns, fmt::format("the pattern \"{}\" does not begin with /dev/", pattern),
                           "write drives = [ \"/dev/nvme*n*\" ];");
                config_.drive_patterns.push_back(pattern);
            }
        }
    }

    void zone(const Setting &s) {
        only(s, "a zone", {"id", "name"});
        Zone zone;
        zone.id = number(s, "id", 1, max_zones);
        zone.name = text(s, "name", fmt::format("zone{}", zone.id));
        if (!config_.zones.emplace(zone.id, zone).second)
            refuse(s, fmt::format("zone {} is there twice", zone.id), "give each zone an id of its own, 1 to 4");
    }

    void controller(const Setting &s) {
        only(s, "a controller", {"id", "zone", "protocol"});
        Controller c;
        c.id = number(s, "id", 1, max_controllers);
        c.zone = number(s, "zone", 1, max_zones);
        if (!config_.zones.contains(c.zone))
            refuse(s["zone"], fmt::format("controller {} is in zone {}, which is not in zones", c.id, c.zone),
                   fmt::format("add {{ id = {}; }} to zones, or use another zone", c.zone));
        const std::string protocol = text(s, "protocol");
        if (const auto known = protocol_from(protocol))
            c.protocol = *known;
        else if (protocol == "iscsi" || protocol == "nfs")
            refuse(s["protocol"], fmt::format("protocol \"{}\" is not built yet", protocol), "use \"roce\" or \"tcp\"");
        else
            refuse(s["protocol"], fmt::format("protocol \"{}\" is not known", protocol), "use \"roce\" or \"tcp\"");
        if (!config_.controllers.emplace(c.id, c).second)
            refuse(s, fmt::format("controller {} is there twice", c.id), "give each controller an id of its own, 1 to 20");
    }

    void port(const Setting &s) {
        only(s, "a port", {"name", "controller", "interface", "ip", "trsvcid"});
        Port p;
        p.name = text(s, "name");
        auto parsed = parse_port_name(p.name);
        if (!parsed)
            refuse(s["name"], fmt::format("port name \"{}\": {}", p.name, parsed.error().reason), parsed.error().remedy);
        p.parsed = *parsed;
        p.controller = number(s, "controller", 1, max_controllers);
        const auto owner = config_.controllers.find(p.controller);
        if (owner == config_.controllers.end())
            refuse(s["controller"], fmt::format("port {} belongs to controller {}, which is not in controllers", p.name, p.controller),
                   "add the controller (controllers stand before ports in the file), or name another one");
        if (p.parsed.number != p.controller && p.parsed.number != owner->second.zone)
            refuse(s["name"], fmt::format("the number after the slash of \"{}\" is neither its controller ({}) nor its zone ({})",
                                          p.name, p.controller, owner->second.zone),
                   fmt::format("call it {}g-{}/{}", p.parsed.speed_gbps, p.parsed.ordinal, p.controller));
        p.interface = text(s, "interface");
        if (p.interface.empty() || p.interface.size() >= IFNAMSIZ || p.interface.find_first_of("/ \t") != std::string::npos)
            refuse(s["interface"], fmt::format("\"{}\" cannot be an interface's name", p.interface), "see `ip link`");
        p.ip = text(s, "ip");
        unsigned char address[sizeof(in6_addr)];
        if (inet_pton(AF_INET, p.ip.c_str(), address) != 1 && inet_pton(AF_INET6, p.ip.c_str(), address) != 1)
            refuse(s["ip"], fmt::format("\"{}\" is not an IP address", p.ip), "write it without a prefix length, \"192.168.1.1\"");
        p.trsvcid = service(s);
        for (const auto &[name, other] : config_.ports) {
            if (nvmet_port_id(other) == nvmet_port_id(p) && name != p.name)
                refuse(s["name"], fmt::format("ports {} and {} are both port {} of controller {}", name, p.name,
                                              p.parsed.ordinal, p.controller), "count the ports of one controller from 1");
            if (other.ip == p.ip && other.trsvcid == p.trsvcid && name != p.name)
                refuse(s["ip"], fmt::format("ports {} and {} share the address {}:{}", name, p.name, p.ip, p.trsvcid),
                       "give each port an address of its own");
        }
        if (!config_.ports.emplace(p.name, p).second)
            refuse(s["name"], fmt::format("port {} is there twice", p.name), "give each port a name of its own");
    }

    // A number or a text, since both are natural to write.
    std::string service(const Setting &s) const {
        const Setting *trsvcid = find(s, "trsvcid");
        if (!trsvcid) return "4420";
        if (trsvcid->getType() != Setting::TypeString) return std::to_string(number(s, "trsvcid", 1, 65535));
        std::string word = text(s, "trsvcid");
        unsigned value = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (error != std::errc{} || end != word.data() + word.size() || value < 1 || value > 65535)
            refuse(*trsvcid, fmt::format("trsvcid \"{}\" is not a port number", word), "use 1 to 65535; the default is 4420");
        return std::to_string(value);  // without leading zeroes
    }

    Config config_;
};

}  // namespace

Result<Config> parse_config(const std::string &text, const std::string &file) {
    libconfig::Config parsed;
    try {
        parsed.readString(text);
        return Reader(file).read(parsed.getRoot());
    } catch (const libconfig::ParseException &e) {
        return Error{"read the configuration", fmt::format("{}:{}", file, e.getLine()), 0, e.getError(),
                     "each setting ends with ';', lists are ( … ), groups are { … }"};
    } catch (const libconfig::SettingException &e) {  // of a type that no check above foresaw
        return Error{"read the configuration", file, 0, fmt::format("setting {} cannot be used ({})", e.getPath(), e.what()),
                     "compare with pavcfg.conf.example"};
    } catch (const libconfig::ConfigException &e) {
        return Error{"read the configuration", file, 0, e.what(), "compare with pavcfg.conf.example"};
    } catch (Refused &refused) {
        return std::move(refused.error);
    }
}

Result<Config> load_config(const std::string &file) {
    std::ifstream stream(file);
    std::stringstream text;
    text << stream.rdbuf();
    if (!stream) {
        const int err = errno;
        return Error{"read the configuration", file, err, "",
                     "copy pavcfg.conf.example there and name this host's ports in it, or say --config FILE"};
    }
    return parse_config(text.str(), file);
}

}  // namespace pav
