// SPDX-License-Identifier: GPL-2.0
//
// What follows from the table of commands: parsing, help, completion, the manual's section.
#include <algorithm>
#include <charconv>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pavcfg/commands.hpp"

namespace pav::cli {

namespace {

using Words = std::vector<std::string>;

constexpr std::size_t path_max = 255;  // of a drive, as the module takes it

Words split(std::string_view text) {
    std::istringstream stream{std::string(text)};
    Words words;
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
}

Error usage_error(const std::string &object, std::string reason, std::string remedy) {
    return {"understand", object.empty() ? "the command" : "\"" + object + "\"", 0, std::move(reason), std::move(remedy)};
}

const Param *param_of(const Command &command, std::string_view key) {
    for (const auto &param : command.params)
        if (param.key == key) return &param;
    return nullptr;
}

bool is_filler(const Command &command, const std::string &word) {
    const Words fillers = split(command.fillers);
    return std::find(fillers.begin(), fillers.end(), word) != fillers.end();
}

Words keys_of(const Command &command) {
    Words keys;
    for (const auto &param : command.params) keys.emplace_back(param.key);
    return keys;
}

std::optional<unsigned> to_number(const std::string &text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
}

// "100GB" → "100", "GB"
std::pair<std::string, std::string> split_size(const std::string &word) {
    const auto digits = std::find_if(word.begin(), word.end(), [](char c) { return c < '0' || c > '9'; });
    return {std::string(word.begin(), digits), std::string(digits, word.end())};
}

// The longest command whose words these begin with.
const Command *match(const Words &words, std::size_t &length) {
    const Command *best = nullptr;
    length = 0;
    for (const auto &command : commands()) {
        const Words want = split(command.words);
        if (want.size() > words.size() || want.size() <= length) continue;
        if (!std::equal(want.begin(), want.end(), words.begin())) continue;
        best = &command;
        length = want.size();
    }
    return best;
}

// What may stand at the n-th place of a command that begins with `words`.
Words next_words(const Words &words) {
    Words next;
    for (const auto &command : commands()) {
        const Words want = split(command.words);
        if (want.size() <= words.size() || !std::equal(words.begin(), words.end(), want.begin())) continue;
        if (std::find(next.begin(), next.end(), want[words.size()]) == next.end()) next.push_back(want[words.size()]);
    }
    return next;
}

Error no_such_command(const Words &words) {
    Words known;
    for (const auto &word : words) {
        const Words next = next_words(known);
        if (std::find(next.begin(), next.end(), word) != next.end()) {
            known.push_back(word);
            continue;
        }
        const auto near = nearest(word, next);
        return usage_error(word, known.empty() ? "there is no such command" : fmt::format("\"{}\" is followed by: {}", fmt::join(known, " "), fmt::join(next, ", ")),
                           near ? fmt::format("did you mean \"{}{}{}\"?", fmt::join(known, " "), known.empty() ? "" : " ", *near) : "see pavcfg help");
    }
    return usage_error(words.empty() ? "" : words.back(), fmt::format("a word is missing: {}", fmt::join(next_words(known), ", ")), "see pavcfg help");
}

class Parser {
  public:
    Parser(const Command &command, Words words) : command_(command), words_(std::move(words)) { call_.command = &command; }

    Result<Call> run() {
        bool first = true;
        while (at_ < words_.size()) {
            const std::string &word = words_[at_];
            if (is_filler(command_, word)) {
                at_++;
                continue;
            }
            const Param *param = param_of(command_, word);
            if (param) {
                at_++;
            } else if (const Param *bare = bare_param(); first && bare) {
                param = bare;
            } else {
                const auto near = nearest(word, keys_of(command_));
                return usage_error(word, near ? fmt::format("did you mean \"{}\"?", *near) : "it does not belong here", usage(command_));
            }
            first = false;
            if (call_.has(param->key)) return usage_error(std::string(param->key), "it is there twice", usage(command_));
            if (auto taken = take(*param); !taken) return taken.error();
        }
        Words missing;
        for (const auto &param : command_.params)
            if (param.required && !call_.has(param.key)) missing.push_back(fmt::format("{}{}{}", param.key, param.placeholder.empty() ? "" : " ", param.placeholder));
        if (!missing.empty()) return usage_error(std::string(command_.words), fmt::format("missing: {}", fmt::join(missing, ", ")), usage(command_));
        return std::move(call_);
    }

  private:
    const Param *bare_param() const {
        for (const auto &param : command_.params)
            if (param.bare) return &param;
        return nullptr;
    }

    Result<void> take(const Param &param) {
        auto &values = call_.values[std::string(param.key)];
        if (param.type == ArgType::flag) return {};
        if (param.type == ArgType::drives) {
            while (at_ < words_.size() && !param_of(command_, words_[at_]) && !is_filler(command_, words_[at_])) values.push_back(words_[at_++]);
            for (const auto &path : values)
                if (!path.starts_with('/') || path.size() > path_max) return usage_error(path, "a drive is named by its path", "for example /dev/nvme0n1");
            if (values.empty()) return no_value(param);
            return {};
        }
        if (at_ == words_.size()) return no_value(param);
        const std::string &value = words_[at_++];
        switch (param.type) {
        case ArgType::number: {
            const auto number = to_number(value);
            if (!number || *number < param.low || *number > param.high)
                return usage_error(value, fmt::format("{} is a number from {} to {}", param.key, param.low, param.high), usage(command_));
            break;
        }
        case ArgType::size: {
            auto [number, unit] = split_size(value);
            if (unit.empty()) {
                if (at_ == words_.size()) return usage_error(value, "the size has no unit", "write for example: size 100 GB");
                unit = words_[at_++];
            }
            if (auto good = parse_size(number, unit); !good) return good.error();
            values = {number, unit};
            return {};
        }
        case ArgType::choice: {
            const Words choices(param.choices.begin(), param.choices.end());
            if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
                const auto near = nearest(value, choices);
                return usage_error(value, fmt::format("{} is one of: {}", param.key, fmt::join(choices, ", ")),
                                   near ? fmt::format("did you mean \"{}\"?", *near) : usage(command_));
            }
            break;
        }
        case ArgType::name:
            if (auto good = check_name(command_.id == Id::create_group ? "group" : "volume", value); !good) return good.error();
            break;
        case ArgType::port:
            if (auto good = parse_port_name(value); !good) return good.error();
            break;
        case ArgType::drive:
            if ((!value.starts_with('/') && !to_number(value)) || value.size() > path_max)
                return usage_error(value, "a drive is named by its path, or by the number of its slot", "for example /dev/nvme0n1, or 3");
            break;
        case ArgType::host:
            if (value != "any")
                if (auto good = check_nqn(value); !good) return good.error();
            break;
        default: break;
        }
        values.push_back(value);
        return {};
    }

    Error no_value(const Param &param) const {
        return usage_error(std::string(param.key), fmt::format("{} follows it: {}", param.placeholder, param.help), usage(command_));
    }

    const Command &command_;
    Words words_;
    std::size_t at_ = 0;
    Call call_;
};

std::string param_text(const Param &param) {
    std::string text(param.key);
    if (param.type == ArgType::choice)
        text += fmt::format(" {}", fmt::join(param.choices, "|"));
    else if (!param.placeholder.empty())
        text += fmt::format(" {}", param.placeholder);
    return param.required ? text : "[" + text + "]";
}

std::string wrap(std::string_view text, std::size_t indent, std::size_t width = 96) {
    std::string out;
    std::string line;
    for (const auto &word : split(text)) {
        if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
            out += std::string(indent, ' ') + line + "\n";
            line.clear();
        }
        line += (line.empty() ? "" : " ") + word;
    }
    return line.empty() ? out : out + std::string(indent, ' ') + line + "\n";
}

std::string help_of_one(const Command &command) {
    std::string out = fmt::format("{}\n\n  pavcfg {}\n\n", command.summary, usage(command));
    out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
    for (const auto &param : command.params)
        out += fmt::format("  {:<22} {}{}\n", fmt::format("{} {}", param.key, param.placeholder), param.help, param.required ? "" : " (optional)");
    if (!command.params.empty()) out += "\n";
    if (!command.details.empty()) out += wrap(command.details, 2) + "\n";
    if (!command.question.empty()) out += wrap(fmt::format("Asks before it acts ({}); --yes answers.", command.question.substr(0, command.question.size() - 1)), 2) + "\n";
    return out + fmt::format("  Example: pavcfg {}\n", command.example);
}

const char *const overview =
    "pavcfg: media groups, volumes, and how hosts reach them over NVMe-oF\n"
    "\n"
    "From empty drives to a volume that a host can use:\n"
    "\n"
    "  pavcfg create group name MG1 zone 1 drives /dev/nvme{0..17}n1 spares /dev/nvme18n1\n"
    "  pavcfg create volume name db1 size 100 GB grpname MG1\n"
    "  pavcfg assign volume name db1 port-name 100g-1/1 preferred\n"
    "  pavcfg assign volume name db1 port-name 100g-1/2\n"
    "  pavcfg allow host nqn.2014-08.org.nvmexpress:uuid:… to volume db1\n"
    "  on the host: nvme connect-all -t rdma -a IP   (for each port's IP)\n"
    "\n"
    "Commands (pavcfg help COMMAND explains one):\n"
    "\n";

const char *const options_text =
    "\n"
    "Options, anywhere on the line:\n"
    "\n"
    "  --json          machine-readable output\n"
    "  --dry-run       show what would be done, do nothing\n"
    "  --yes           answer questions with yes\n"
    "  --wait SECONDS  wait so long for interfaces, addresses and drives that are not there yet\n"
    "  --takeover      import group, wipe drives: even if another host has the group open\n"
    "  --watch         wait for the end of what the command began in the background\n"
    "  --quiet         no progress, no remarks: only results and errors\n"
    "  --config FILE   instead of /etc/pav/pavcfg.conf\n"
    "  --module FILE   load this pavraid.ko instead of the installed one\n"
    "  --version       print the version\n"
    "\n"
    "Without a command: a shell, with the namespaces of `switch config` and `switch show`.\n"
    "Sizes: GB is 1024^3 bytes, MB and TB alike.\n"
    "Exit codes: 0 done (or it was so already), 1 refused or failed, 2 not understood, 3 done in part,\n"
    "4 the configuration file is wrong or missing.\n";

std::string troff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') out += "\\e";
        else if (c == '-') out += "\\-";
        else out += c;
    }
    if (!out.empty() && (out[0] == '.' || out[0] == '\'')) out.insert(0, "\\&");
    return out;
}

}  // namespace

std::string Call::text(std::string_view key) const {
    const auto it = values.find(key);
    return it == values.end() || it->second.empty() ? "" : it->second.front();
}
unsigned Call::number(std::string_view key, unsigned otherwise) const { return to_number(text(key)).value_or(otherwise); }
std::uint64_t Call::size(std::string_view key) const {
    const auto &words = list(key);
    return words.size() == 2 ? parse_size(words[0], words[1]).value() : 0;
}
const std::vector<std::string> &Call::list(std::string_view key) const {
    static const std::vector<std::string> none;
    const auto it = values.find(key);
    return it == values.end() ? none : it->second;
}

Result<Call> parse(const Words &words) {
    std::size_t length = 0;
    const Command *command = match(words, length);
    if (!command) return no_such_command(words);
    Words rest(words.begin() + static_cast<std::ptrdiff_t>(length), words.end());
    if (command->id == Id::help) {  // its parameters are words of other commands
        Call call;
        call.command = command;
        call.values["topic"] = std::move(rest);
        return call;
    }
    return Parser(*command, std::move(rest)).run();
}

std::string usage(const Command &command) {
    Words parts{std::string(command.words)};
    for (const auto &param : command.params) {
        // Fillers read before the key of the object: "allow host NQN to volume V".
        if (!command.fillers.empty() && (param.key == "volume" || param.key == "group")) parts.push_back(split(command.fillers).front());
        parts.push_back(param_text(param));
    }
    return fmt::format("{}", fmt::join(parts, " "));
}

std::string help_for(const Words &words) {
    if (words.empty()) {
        std::string out = overview;
        for (const auto &command : commands()) out += fmt::format("  {:<28} {}\n", command.words, command.summary);
        return out + options_text;
    }
    std::size_t length = 0;
    if (const Command *command = match(words, length)) return help_of_one(*command);
    std::string out;
    for (const auto &command : commands()) {
        const Words want = split(command.words);
        if (want.size() > words.size() && std::equal(words.begin(), words.end(), want.begin()))
            out += fmt::format("  pavcfg {}\n      {}\n", usage(command), command.summary);
    }
    return out;
}

std::string manual_section() {
    std::string out = ".\\\" Made from the table of commands by `pavcfg manual`; a test compares.\n.SH COMMANDS\n";
    for (const auto &command : commands()) {
        out += fmt::format(".TP\n.B {}\n{}.\n", troff(usage(command)), troff(command.summary));
        if (!command.details.empty()) out += troff(command.details) + "\n";
        for (const auto &param : command.params)
            out += fmt::format(".br\n\\(bu \\fI{}\\fR: {}\n", troff(param.key), troff(param.help));
    }
    return out;
}

std::vector<std::string> complete(const Words &words, const std::string &partial, const ValuesOf &values) {
    Words candidates;
    std::size_t length = 0;
    const Command *command = match(words, length);
    if (command && command->id == Id::help) {
        candidates = next_words({words.begin() + 1, words.end()});
    } else if (command) {
        const Param *open = nullptr;  // the parameter whose value comes next
        Words seen;
        for (std::size_t i = length; i < words.size(); i++) {
            const Param *param = param_of(*command, words[i]);
            if (param && (!open || open->type == ArgType::drives)) {
                seen.push_back(words[i]);
                open = param->type == ArgType::flag ? nullptr : param;
            } else if (open && open->type == ArgType::size && to_number(words[i])) {
                if (i + 1 == words.size()) candidates = {"GB", "MB", "TB"};
            } else if (!open || open->type != ArgType::drives) {
                open = nullptr;
            }
        }
        if (open && candidates.empty()) {
            if (open->type == ArgType::choice)
                candidates.assign(open->choices.begin(), open->choices.end());
            else
                candidates = values(open->type);
        }
        if (!open || open->type == ArgType::drives) {
            for (const auto &param : command->params)
                if (std::find(seen.begin(), seen.end(), param.key) == seen.end()) candidates.emplace_back(param.key);
            if (seen.empty() && words.size() == length)
                for (const auto &word : next_words(words)) candidates.push_back(word);
        }
    } else {
        candidates = next_words(words);
    }
    if (partial.starts_with("--")) candidates = {"--json", "--dry-run", "--yes", "--wait", "--watch", "--takeover", "--quiet", "--config", "--module", "--help", "--version"};
    std::erase_if(candidates, [&](const std::string &word) { return !word.starts_with(partial); });
    return candidates;
}

}  // namespace pav::cli
