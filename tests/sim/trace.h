// SPDX-License-Identifier: GPL-2.0
// What happened, for people (the last few thousand entries) and for comparing runs (a hash of all of them).
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace pav::sim {

class Trace {
public:
	static constexpr size_t kept = 4096;

	explicit Trace(bool verbose = false) : verbose_(verbose) { ring_.resize(kept); }

	// @what: a literal. The numbers' meaning follows from it.
	void add(uint64_t now_ns, const char *what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0);
	void add_text(uint64_t now_ns, const char *what, std::string text);

	uint64_t hash() const { return hash_; }
	uint64_t entries() const { return entries_; }
	void print_tail(std::FILE *out, size_t lines) const;

private:
	struct Entry {
		uint64_t now_ns = 0;
		const char *what = "";
		uint64_t n[4] = {};
		std::string text;
	};
	static void print(std::FILE *out, const Entry &e);
	Entry &next(uint64_t now_ns, const char *what);

	bool verbose_;
	uint64_t hash_ = 0, entries_ = 0;
	std::vector<Entry> ring_;
};

// Ends the run: a rule was broken. Says so, prints the tail of the trace and leaves the process by failed_exit.
constexpr int failed_exit = 3;
[[noreturn]] [[gnu::format(printf, 1, 2)]] void fail(const char *fmt, ...);

// What fail() says beside the reason: the seed and how to replay it; whose trace. Empty: nothing.
struct FailReport {
	std::function<void(std::FILE *)> header;
	const Trace *trace = nullptr;
	size_t tail = 60;
};
FailReport &fail_report();

// After so many seconds of this process's own processor time, from now on, it gets SIGPROF: other work on the machine does not count. 0: never.
void watchdog(unsigned int seconds);

}  // namespace pav::sim
