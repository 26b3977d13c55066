// SPDX-License-Identifier: GPL-2.0
//
// A state as JSON and as text. The reader is strict: a key that it does not know, or meets twice, is a mistake that would
// otherwise be found on a host that lost its disk.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "attrs.hpp"
#include "pav/nvmet.hpp"

namespace pav::nvmet {

namespace {

using Json = nlohmann::ordered_json;

// Thrown inside this file only; parse_state() turns it into its result.
struct Refusal {
    Error error;
};

[[noreturn]] void refuse(std::string pointer, std::string reason, std::string remedy = {})
{
    throw Refusal{{"accept the desired state at", pointer.empty() ? "/" : std::move(pointer), 0, std::move(reason),
                   std::move(remedy)}};
}

// A JSON object with its pointer; remembers which keys were asked for, so that finish() finds the others.
class Reader {
  public:
    Reader(const Json &json, std::string pointer) : json_(json), at_(std::move(pointer))
    {
        if (!json.is_object())
            refuse(at_, fmt::format("an object is needed, not {}", json.type_name()));
    }

    const std::string &at() const { return at_; }
    std::string at(const std::string &key) const { return at_ + "/" + pointer_token(key); }

    const Json *find(const char *key)
    {
        known_.emplace_back(key);
        auto it = json_.find(key);
        return it == json_.end() ? nullptr : &*it;
    }

    void get(const char *key, std::string &field)
    {
        if (const Json *j = find(key)) {
            if (!j->is_string())
                refuse(at(key), fmt::format("a string is needed, not {}", j->type_name()));
            field = j->get<std::string>();
        }
    }
    void get(const char *key, bool &field)
    {
        if (const Json *j = find(key)) {
            if (!j->is_boolean())
                refuse(at(key), fmt::format("true or false is needed, not {}", j->type_name()));
            field = j->get<bool>();
        }
    }
    template <class Number>
    requires(std::is_integral_v<Number> && !std::is_same_v<Number, bool>) void get(const char *key, Number &field)
    {
        const Json *j = find(key);
        if (!j)
            return;
        if (!j->is_number_integer())
            refuse(at(key), fmt::format("an integer is needed, not {}", j->type_name()));
        if (!fits<Number>(*j))
            refuse(at(key), fmt::format("{} is out of range", j->dump()));
        field = j->get<Number>();
    }
    template <class T> void get(const char *key, std::optional<T> &field)
    {
        if (!json_.contains(key)) {
            known_.emplace_back(key);
            return;
        }
        T value{};
        get(key, value);
        field = std::move(value);
    }
    void get(const char *key, std::set<std::string> &field)
    {
        const Json *j = find(key);
        if (!j)
            return;
        if (!j->is_array())
            refuse(at(key), fmt::format("an array is needed, not {}", j->type_name()));
        for (std::size_t i = 0; i < j->size(); i++) {
            const Json &e = (*j)[i];
            if (!e.is_string())
                refuse(fmt::format("{}/{}", at(key), i), fmt::format("a string is needed, not {}", e.type_name()));
            if (!field.insert(e.get<std::string>()).second)
                refuse(fmt::format("{}/{}", at(key), i), fmt::format("{} is listed twice", e.dump()));
        }
    }

    // Each member of the object under `key`, with its own reader position.
    template <class F> void each(const char *key, F &&f)
    {
        const Json *j = find(key);
        if (!j)
            return;
        Reader members(*j, at(key));
        for (const auto &[name, value] : j->items())
            f(name, value, members.at(name));
    }

    void finish() const
    {
        for (const auto &[key, value] : json_.items())
            if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
                std::string list;
                for (const auto &k : known_)
                    list += (list.empty() ? "" : ", ") + k;
                refuse(at(key), "an unknown key", "known here: " + list);
            }
    }

  private:
    template <class Number> static bool fits(const Json &j)
    {
        if (j.is_number_unsigned())
            return j.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<Number>::max());
        auto value = j.get<std::int64_t>();
        return std::is_signed_v<Number> && value >= static_cast<std::int64_t>(std::numeric_limits<Number>::min());
    }

    const Json &json_;
    std::string at_;
    std::vector<std::string> known_;
};

template <class Number> Number number_key(const std::string &name, const std::string &pointer, const char *what)
{
    Number id{};
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc{} || end != name.data() + name.size() || std::to_string(id) != name)
        refuse(pointer, fmt::format("\"{}\" is not a {} (a decimal number up to {})", name, what,
                                    std::numeric_limits<Number>::max()));
    return id;
}

// Keys and the fields they stand for; reading and writing go by the same lists.
template <class T, class Of> concept Some = std::same_as<std::remove_const_t<T>, Of>;

void for_keys(Some<Namespace> auto &ns, auto &&f)
{
    f("device", ns.device_path);
    f("uuid", ns.uuid);
    f("nguid", ns.nguid);
    f("ana_group", ns.ana_grpid);
    f("enable", ns.enable);
    f("buffered_io", ns.buffered_io);
}

void for_keys(Some<Subsystem> auto &s, auto &&f)
{
    f("serial", s.serial);
    f("model", s.model);
    f("version", s.version);
    f("cntlid_min", s.cntlid_min);
    f("cntlid_max", s.cntlid_max);
    f("qid_max", s.qid_max);
    f("pi_enable", s.pi_enable);
    f("allow_any_host", s.allow_any_host);
    f("allowed_hosts", s.allowed_hosts);
}

void for_keys(Some<Port> auto &p, auto &&f)
{
    f("trtype", p.trtype);
    f("adrfam", p.adrfam);
    f("traddr", p.traddr);
    f("trsvcid", p.trsvcid);
    f("treq", p.treq);
    f("inline_data_size", p.inline_data_size);
    f("pi_enable", p.pi_enable);
    f("subsystems", p.subsystems);
}

// What all objects have; each has its own children besides.
template <class Object> Object read_object(Reader &r)
{
    Object object;
    for_keys(object, [&](const char *key, auto &field) { r.get(key, field); });
    r.each("attributes", [&](const std::string &file, const Json &value, const std::string &at) {
        if (!value.is_string())
            refuse(at, fmt::format("a string is needed, not {}", value.type_name()));
        object.other[file] = value.get<std::string>();
    });
    return object;
}

Namespace read_namespace(const Json &json, const std::string &pointer)
{
    Reader r(json, pointer);
    auto ns = read_object<Namespace>(r);
    r.finish();
    return ns;
}

Subsystem read_subsystem(const Json &json, const std::string &pointer)
{
    Reader r(json, pointer);
    auto s = read_object<Subsystem>(r);
    r.each("namespaces", [&](const std::string &name, const Json &value, const std::string &at) {
        s.namespaces.emplace(number_key<std::uint32_t>(name, at, "namespace number"), read_namespace(value, at));
    });
    r.finish();
    return s;
}

Port read_port(const Json &json, const std::string &pointer)
{
    Reader r(json, pointer);
    auto p = read_object<Port>(r);
    r.each("ana_groups", [&](const std::string &name, const Json &value, const std::string &at) {
        auto group = number_key<unsigned>(name, at, "ANA group");
        auto state = value.is_string() ? ana_state_from(value.get<std::string>()) : std::nullopt;
        if (!state)
            refuse(at, fmt::format("{} is not an ANA state", value.dump()),
                   "optimized, non-optimized, inaccessible, persistent-loss or change");
        p.ana_groups.emplace(group, *state);
    });
    r.finish();
    return p;
}

State read_document(const Json &json)
{
    Reader r(json, "");
    State state;
    r.get("hosts", state.hosts);
    r.each("subsystems", [&](const std::string &nqn, const Json &value, const std::string &at) {
        state.subsystems.emplace(nqn, read_subsystem(value, at));
    });
    r.each("ports", [&](const std::string &name, const Json &value, const std::string &at) {
        state.ports.emplace(number_key<std::uint16_t>(name, at, "port number"), read_port(value, at));
    });
    r.finish();
    return state;
}

// nlohmann keeps the last of two equal keys; this watches the parser and refuses the second.
class DuplicateKeys {
  public:
    bool operator()(int, Json::parse_event_t event, Json &parsed)
    {
        if (event == Json::parse_event_t::object_start)
            open_.emplace_back();
        else if (event == Json::parse_event_t::object_end)
            open_.pop_back();
        else if (event == Json::parse_event_t::key && !open_.back().insert(parsed.get<std::string>()).second)
            refuse("", fmt::format("the key \"{}\" stands twice in one object", parsed.get<std::string>()));
        return true;
    }

  private:
    std::vector<std::set<std::string>> open_;
};

std::string line_and_column(std::string_view text, std::size_t byte)  // byte counts from 1
{
    std::string_view before = text.substr(0, byte == 0 ? 0 : std::min(byte - 1, text.size()));
    auto line = std::count(before.begin(), before.end(), '\n') + 1;
    auto start = before.rfind('\n');
    return fmt::format("line {}, column {}", line, before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1);
}

template <class T> void write(Json &json, const char *key, const T &field)
{
    json[key] = field;
}

template <class T> void write(Json &json, const char *key, const std::optional<T> &field)
{
    if (field)
        json[key] = *field;
}

template <class Object> Json write_object(const Object &object)
{
    Json j = Json::object();
    for_keys(object, [&](const char *key, const auto &field) { write(j, key, field); });
    if (!object.other.empty())
        j["attributes"] = object.other;
    return j;
}

Json write_subsystem(const Subsystem &s)
{
    Json j = write_object(s);
    j["namespaces"] = Json::object();
    for (const auto &[nsid, ns] : s.namespaces)
        j["namespaces"][std::to_string(nsid)] = write_object(ns);
    return j;
}

Json write_port(const Port &p)
{
    Json j = write_object(p);
    j["ana_groups"] = Json::object();
    for (const auto &[group, state] : p.ana_groups)
        j["ana_groups"][std::to_string(group)] = to_string(state);
    return j;
}

}  // namespace

Result<State> parse_state(std::string_view text)
{
    try {
        return validate(read_document(Json::parse(text, DuplicateKeys{})));
    } catch (const Json::parse_error &e) {
        std::string why = e.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: REASON"
        if (auto colon = why.find(": "); colon != std::string::npos)
            why = why.substr(colon + 2);
        return Error{"parse the desired state at", line_and_column(text, e.byte), 0, why, ""};
    } catch (const Refusal &r) {
        return r.error;
    } catch (const Json::exception &e) {
        return Error{"parse the desired state", "", 0, e.what(), ""};
    }
}

std::string to_json(const State &state, int indent)
{
    Json j = Json::object();
    j["hosts"] = state.hosts;
    j["subsystems"] = Json::object();
    for (const auto &[nqn, s] : state.subsystems)
        j["subsystems"][nqn] = write_subsystem(s);
    j["ports"] = Json::object();
    for (const auto &[id, p] : state.ports)
        j["ports"][std::to_string(id)] = write_port(p);
    // Values come from the kernel, which does not promise UTF-8.
    return j.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string to_text(const State &state)
{
    std::string out;
    auto shown = [](const std::string &text) { return text.empty() ? std::string("(not set)") : text; };
    for (const auto &[id, p] : state.ports) {
        out += fmt::format("port {}: {} {} {}\n", id, shown(p.trtype), shown(p.traddr), shown(p.trsvcid));
        for (const auto &[group, ana] : p.ana_groups)
            out += fmt::format("  ANA group {}: {}\n", group, to_string(ana));
        for (const auto &nqn : p.subsystems)
            out += fmt::format("  serves {}\n", nqn);
    }
    for (const auto &[nqn, s] : state.subsystems) {
        out += fmt::format("subsystem {}: serial {}, model {}\n", nqn, s.serial.value_or("-"), s.model.value_or("-"));
        for (const auto &[nsid, ns] : s.namespaces)
            out += fmt::format("  namespace {}: {}, ANA group {}, {}\n", nsid, shown(ns.device_path), ns.ana_grpid,
                               ns.enable ? "enabled" : "disabled");
        if (s.allow_any_host)
            out += "  any host may connect\n";
        for (const auto &host : s.allowed_hosts)
            out += fmt::format("  host {}\n", host);
    }
    for (const auto &host : state.hosts)
        out += fmt::format("host {}\n", host);
    return out.empty() ? "Nothing is configured.\n" : out;
}

}  // namespace pav::nvmet
