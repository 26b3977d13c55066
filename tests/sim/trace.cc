// SPDX-License-Identifier: GPL-2.0
#include "trace.h"

#include "prng.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/time.h>
#include <unistd.h>

namespace pav::sim {

Trace::Entry &Trace::next(uint64_t now_ns, const char *what)
{
	Entry &e = ring_[entries_++ % kept];
	uint64_t head = 0;

	std::memcpy(&head, what, std::min(sizeof head, std::strlen(what)));
	hash_ = mix64(hash_ ^ now_ns) + head;
	e.now_ns = now_ns;
	e.what = what;
	e.text.clear();
	return e;
}

void Trace::add(uint64_t now_ns, const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	Entry &e = next(now_ns, what);
	const uint64_t n[4] = {a, b, c, d};

	for (size_t i = 0; i < 4; i++) {
		e.n[i] = n[i];
		hash_ = hash_ * 0x100000001b3 ^ n[i];
	}
	hash_ = mix64(hash_);
	if (verbose_)
		print(stdout, e);
}

void Trace::add_text(uint64_t now_ns, const char *what, std::string text)
{
	Entry &e = next(now_ns, what);

	for (const char c : text)
		hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
	e.text = std::move(text);
	if (verbose_)
		print(stdout, e);
}

void Trace::print(std::FILE *out, const Entry &e)
{
	if (!e.text.empty())
		std::fprintf(out, "%12.3f us  %-10s %s\n", static_cast<double>(e.now_ns) / 1e3, e.what, e.text.c_str());
	else
		std::fprintf(out, "%12.3f us  %-10s %lu %lu %lu %lu\n", static_cast<double>(e.now_ns) / 1e3, e.what, e.n[0], e.n[1], e.n[2], e.n[3]);
}

void Trace::print_tail(std::FILE *out, size_t lines) const
{
	const uint64_t have = std::min<uint64_t>({entries_, kept, lines});

	for (uint64_t i = entries_ - have; i < entries_; i++)
		print(out, ring_[i % kept]);
}

void watchdog(unsigned int seconds)
{
	const itimerval time{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};

	setitimer(ITIMER_PROF, &time, nullptr);
}

FailReport &fail_report()
{
	static FailReport report;
	return report;
}

void fail(const char *fmt, ...)
{
	FailReport &report = fail_report();
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	std::vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	std::fflush(stdout);
	if (report.trace) {
		std::fprintf(stderr, "---- the last of the trace\n");
		report.trace->print_tail(stderr, report.tail);
		std::fprintf(stderr, "----\n");
	}
	std::fprintf(stderr, "FAILED: %s\n", text);
	if (report.header)
		report.header(stderr);
	std::fflush(stderr);
	_exit(failed_exit);
}

}  // namespace pav::sim
