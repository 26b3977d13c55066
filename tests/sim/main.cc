// SPDX-License-Identifier: GPL-2.0
// pav_sim: runs seeds, on several processes, and sums up what they met.
#include "amplification.h"
#include "exhaustive.h"
#include "two_hosts.h"
#include "world.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <poll.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using pav::sim::Tally;

struct Options {
	uint64_t seeds = 100, start = 1, seed = 0;
	unsigned int jobs = 1, watchdog_s = 60;
	bool verbose = false, json = false, hash = false, keep_going = false;
	size_t tail = 60;
	std::vector<uint64_t> skip;
	std::string program;	// and what decides with the seed
	std::string linger;
	bool two_hosts = false;
};

// ---- one seed ----

struct Result {
	uint64_t hash;
};

void on_signal(int number)
{
	if (number == SIGPROF)
		pav::sim::fail("no end in sight: an endless loop?");
	pav::sim::fail("signal %d (%s)", number, strsignal(number));
}

void catch_signals()
{
#if !defined(__SANITIZE_ADDRESS__)
	static char stack[64 << 10];	// a fiber's may be the one that overflowed
	const stack_t alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};

	sigaltstack(&alternate, nullptr);
	for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
		struct sigaction action {};

		action.sa_handler = on_signal;
		action.sa_flags = SA_ONSTACK | static_cast<int>(SA_RESETHAND);
		sigaction(number, &action, nullptr);
	}
#endif
	std::signal(SIGPROF, on_signal);
}

template <typename W> Result run_world(uint64_t seed, const Options &o, Tally &tally)
{
	W world(seed, o.verbose);
	pav::sim::FailReport &report = pav::sim::fail_report();

	report.trace = &world.trace();
	report.tail = o.tail;
	report.header = [&](std::FILE *out) {
		std::fprintf(out, "seed %lu: %s\nreplay: %s --seed %lu -v\n", seed, world.plan().describe().c_str(), o.program.c_str(), seed);
	};
	pav::sim::watchdog(o.watchdog_s);
	world.run();
	pav::sim::watchdog(0);
	world.add_to(tally);
	report = {};
	return {world.trace().hash()};
}

// Every tenth seed is one of two hosts.
Result run_seed(uint64_t seed, const Options &o, Tally &tally)
{
	return seed % 10 && !o.two_hosts ? run_world<pav::sim::World>(seed, o, tally) : run_world<pav::sim::TwoHosts>(seed, o, tally);
}

// ---- a process that runs every o.jobs-th seed, and tells by lines in a pipe ----

void child(const Options &o, uint64_t first, int out_fd)
{
	std::FILE *out = fdopen(out_fd, "w");

	catch_signals();
	for (uint64_t seed = first; seed < o.start + o.seeds; seed += o.jobs) {
		if (std::find(o.skip.begin(), o.skip.end(), seed) != o.skip.end())
			continue;
		std::fprintf(out, "seed %lu\n", seed);
		std::fflush(out);
		Tally tally;

		pav::sim::reset_marks();
		const Result r = run_seed(seed, o, tally);

		// Seed by seed: what was met before a failure shall count.
		for (const auto &[name, n] : tally)
			if (n)
				std::fprintf(out, "tally %lu %s\n", n, name.c_str());
		for (const auto &mark : pav::sim::marks())
			if (mark.count || seed == first)
				std::fprintf(out, "mark %lu %s\n", mark.count, mark.name.c_str());
		std::fprintf(out, "hash %lu %lu\n", seed, r.hash);
	}
	std::fclose(out);
	_exit(0);
}

struct Job {
	pid_t pid = -1;
	int fd = -1;
	uint64_t at = 0;	// the seed that it is at
	std::string unread;
};

struct Summary {
	Tally tally, marks;
	std::map<uint64_t, uint64_t> hashes;
	std::vector<uint64_t> failed;

	void line(Job &job, const std::string &text)
	{
		std::istringstream in(text);
		std::string kind, name;
		uint64_t n = 0;

		in >> kind >> n;
		if (kind == "seed") {
			job.at = n;
		} else if (kind == "hash") {
			in >> hashes[n];
		} else {
			std::getline(in >> std::ws, name);
			(kind == "tally" ? tally : marks)[name] += n;
		}
	}
};

void start(Job &job, const Options &o, uint64_t first)
{
	int fds[2];

	std::fflush(nullptr);
	if (pipe(fds))
		throw std::runtime_error("pipe: " + std::string(std::strerror(errno)));
	job = {};
	job.at = first;
	job.pid = fork();
	if (job.pid < 0)
		throw std::runtime_error("fork: " + std::string(std::strerror(errno)));
	if (job.pid == 0) {
		close(fds[0]);
		child(o, first, fds[1]);
	}
	close(fds[1]);
	job.fd = fds[0];
}

// Reads what there is. False: the process has ended.
bool pump(Job &job, Summary &summary)
{
	char buf[65536];
	const ssize_t n = read(job.fd, buf, sizeof buf);

	if (n <= 0)
		return false;
	job.unread.append(buf, static_cast<size_t>(n));
	size_t end;

	while ((end = job.unread.find('\n')) != std::string::npos) {
		summary.line(job, job.unread.substr(0, end));
		job.unread.erase(0, end + 1);
	}
	return true;
}

// Now and then, so that who waits for a long run knows how far it is.
class Progress {
public:
	explicit Progress(const Options &o) : seeds_(o.seeds) {}

	void tell(const Summary &summary)
	{
		const auto now = std::chrono::steady_clock::now();

		if (now < next_)
			return;
		next_ = now + every;
		std::cerr << fmt::format("… {} of {} seeds after {} s, {} failed\n", summary.hashes.size() + summary.failed.size(), seeds_,
					 std::chrono::duration_cast<std::chrono::seconds>(now - began_).count(), summary.failed.size());
	}

private:
	static constexpr std::chrono::seconds every{60};

	uint64_t seeds_;
	std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), next_ = began_ + every;
};

Summary run_all(const Options &o)
{
	std::vector<Job> jobs(o.jobs);
	Progress progress(o);
	Summary summary;
	size_t running = 0;

	for (unsigned int j = 0; j < o.jobs && j < o.seeds; j++, running++)
		start(jobs[j], o, o.start + j);
	while (running) {
		std::vector<pollfd> fds;

		for (const Job &job : jobs)
			fds.push_back({job.fd, POLLIN, 0});	// a negative one is left out
		poll(fds.data(), fds.size(), 1000);
		progress.tell(summary);
		for (size_t j = 0; j < jobs.size(); j++) {
			Job &job = jobs[j];

			if (!fds[j].revents || pump(job, summary))
				continue;
			int status = 0;

			waitpid(job.pid, &status, 0);
			close(job.fd);
			job.fd = -1;
			running--;
			if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
				continue;
			summary.failed.push_back(job.at);
			std::cerr << fmt::format("seed {} failed; replay: {} --seed {} -v\n", job.at, o.program, job.at);
			if (o.keep_going && job.at + o.jobs < o.start + o.seeds) {
				start(job, o, job.at + o.jobs);
				running++;
			} else if (!o.keep_going) {
				for (Job &other : jobs)
					if (other.fd >= 0)
						kill(other.pid, SIGTERM);
			}
		}
		if (!summary.failed.empty() && !o.keep_going)
			for (Job &other : jobs)
				if (other.fd >= 0) {
					waitpid(other.pid, nullptr, 0);
					close(other.fd);
					other.fd = -1;
					running--;
				}
	}
	return summary;
}

int report(const Options &o, const Summary &s, double seconds)
{
	uint64_t hash = 0;

	for (const auto &[seed, h] : s.hashes)
		hash = hash * 31 + h;
	if (o.json) {
		nlohmann::json j{{"seeds", s.hashes.size()}, {"failed", s.failed}, {"seconds", seconds}, {"counts", s.tally}, {"branches", s.marks}, {"hash", hash}};

		std::cout << j.dump(1, '\t') << "\n";
	} else if (o.hash) {
		std::cout << fmt::format("{:016x}\n", hash);
	} else {
		std::vector<std::string> never;

		for (const auto &[name, n] : s.tally)
			std::cout << fmt::format("{:>14} {}\n", n, name);
		std::cout << "rare branches reached:\n";
		for (const auto &[name, n] : s.marks)
			if (n)
				std::cout << fmt::format("{:>14} {}\n", n, name);
			else
				never.push_back(name);
		std::cout << fmt::format("rare branches never reached: {}\n", never.empty() ? "none" : fmt::format("{}", fmt::join(never, ", ")));
		std::cout << fmt::format("{} seeds in {:.1f} s, {} failed{}\n", s.hashes.size() + s.failed.size(), seconds, s.failed.size(),
					 s.failed.empty() ? "" : fmt::format(": {}", fmt::join(s.failed, " ")));
	}
	return s.failed.empty() ? 0 : 1;
}

// ---- write amplification ----

// At 25 % spare. The first factor is what the garbage collector may cost, metadata and headers included, the second is parity.
constexpr struct {
	const char *name;
	unsigned int hot_writes, hot_space;
	double goal;
} patterns[] = {{"uniform", 100, 100, 2.7 * 18 / 16}, {"90/10", 90, 10, 2.0 * 18 / 16}};
constexpr double tolerance = 1.1;

int amplification(pav::sim::AmplificationOptions a, bool json)
{
	nlohmann::json all;
	bool good = true;

	for (const auto &p : patterns) {
		a.hot_writes = p.hot_writes;
		a.hot_space = p.hot_space;
		const pav::sim::Amplification r = pav::sim::measure_amplification(a);
		const bool holds = r.total <= p.goal * tolerance;

		good = good && holds;
		if (json) {
			all[p.name] = {{"amplification", r.total}, {"goal", p.goal}, {"holds", holds}, {"parts", r.parts}, {"victim_live", r.victim_live},
				       {"mapped_cells", r.mapped_cells}, {"segment_cells", r.segment_cells}, {"writes", r.writes},
				       {"checkpoints", r.checkpoints}, {"segments_emptied", r.emptied},
				       {"latency_us", {{"p50", r.p50_us}, {"p99", r.p99_us}, {"p99.9", r.p999_us}, {"max", r.max_us}}}};
			continue;
		}
		std::cout << fmt::format("{}: {:.2f} cells written for each of the user's, goal {:.2f}{}\n", p.name, r.total, p.goal,
					 holds ? "" : ": MORE THAN 10 % ABOVE");
		for (const auto &[name, n] : r.parts)
			std::cout << fmt::format("{:>14.3f} {}\n", n, name);
		std::cout << fmt::format("  {} of {} data cells mapped ({:.1f} % spare), {} checkpoints, {} segments emptied with {:.0f} % alive\n", r.mapped_cells,
					 r.segment_cells, 100 - 100.0 * static_cast<double>(r.mapped_cells) / static_cast<double>(r.segment_cells),
					 r.checkpoints, r.emptied, 100 * r.victim_live);
		std::cout << fmt::format("  in simulated time: {:.0f} thousand writes a second; a write took {:.0f} us (median), {:.0f} us (99 %), {:.0f} us (99.9 %), "
					 "at most {:.0f} us\n", r.kiops, r.p50_us, r.p99_us, r.p999_us, r.max_us);
	}
	if (json)
		std::cout << all.dump(1, '\t') << "\n";
	return good ? 0 : 1;
}

}  // namespace

int main(int argc, char **argv)
{
	Options o;
	CLI::App app("Runs the engine in a simulated world: one seed is one whole history of users, faults and power cuts, and always the same one.");

	o.program = argv[0];
	o.jobs = static_cast<unsigned int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
	app.add_option("--seeds", o.seeds, "how many seeds to run")->capture_default_str();
	app.add_option("--start", o.start, "the first of them")->capture_default_str();
	app.add_option("--seed", o.seed, "run this one alone, in this process");
	app.add_option("--jobs,-j", o.jobs, "processes")->check(CLI::Range(1, 256));
	app.add_option("--tail", o.tail, "lines of the trace to print when a seed fails")->capture_default_str();
	app.add_option("--watchdog", o.watchdog_s, "seconds of a processor that a seed may take")->capture_default_str();
	app.add_option("--skip", o.skip, "seeds to leave out")->delimiter(',');
	app.add_flag("--two-hosts", o.two_hosts, "every seed is one of two hosts at the same drives; default: every tenth");
	app.add_option("--linger", o.linger, "let every seed linger here, to look at races closely: FILE of the engine, or FILE:LINE-LINE; default: some seeds, anywhere");
	pav::sim::ExhaustiveOptions all;
	bool exhaustive = false;

	app.add_flag("--exhaustive", exhaustive, "no seeds: a small group, every moment of a power cut, every subset of the writes that may have got there");
	app.add_option("--minutes", all.minutes, "with --exhaustive: when to stop; 0: after the last of --rounds")->capture_default_str();
	app.add_option("--rounds", all.rounds, "with --exhaustive: how many scripts; 0: until the time is up")->capture_default_str();
	app.add_option("--round", all.first_round, "with --exhaustive: the first script")->check(CLI::Range(1, 1000))->capture_default_str();
	app.add_option("--part", all.part, "with --exhaustive: this part of the states alone")->capture_default_str();
	app.add_option("--parts", all.parts, "with --exhaustive: of so many parts")->check(CLI::Range(1, 1000))->capture_default_str();
	app.add_option("--state", all.state, "with --exhaustive: check this state alone, in this process");
	app.add_flag("-v,--verbose", o.verbose, "print the trace (with --seed or --state)");
	app.add_flag("--json", o.json, "the summary as JSON");
	app.add_flag("--hash", o.hash, "print only a hash of all traces, to compare runs");
	app.add_flag("-k,--keep-going", o.keep_going, "run the other seeds too when one fails");
	pav::sim::AmplificationOptions a;
	bool amplify = false;

	app.add_flag("--amplification", amplify, "measure write amplification instead: a full group of 16+2, no faults unless --rotten asks for them; exit 1 if a goal is missed");
	app.add_option("--segments", a.segments, "… segments of the group")->capture_default_str();
	app.add_option("--segment-blocks", a.segment_blocks, "… their cells on each drive")->capture_default_str();
	app.add_option("--rotten", a.rotten_percent, "… percent of the headers on two drives that rot once it is full")->capture_default_str();
	app.add_option("--reserve", a.reserve_percent, "… percent of the group's data cells that stay empty")->capture_default_str();
	app.add_option("--fill", a.fill_percent, "… percent of the rest that hold data")->capture_default_str();
	app.add_option("--depth", a.queue_depth, "… writes in flight")->capture_default_str();
	app.add_option("--nodes", a.cache_nodes, "… nodes of the map in memory")->capture_default_str();
	app.add_option("--overwrites", a.overwrites, "… times all data is overwritten first")->capture_default_str();
	app.add_option("--measured", a.measured, "… times while it is measured")->capture_default_str();
	CLI11_PARSE(app, argc, argv);
	if (amplify)
		return amplification(a, o.json);

	if (exhaustive) {
		all.jobs = o.jobs;
		all.watchdog_s = o.watchdog_s;
		all.keep_going = o.keep_going;
		all.verbose = o.verbose;
		all.program = o.program;
		catch_signals();
		return pav::sim::run_exhaustive(all);
	}
	if (o.two_hosts)
		o.program += " --two-hosts";
	if (!o.linger.empty()) {
		const auto here = pav::sim::places_in(o.linger);

		if (here.empty()) {
			std::cerr << fmt::format("{}: nothing there where code can be put aside; a place is for instance {}\n", o.linger, pav::sim::places().at(0));
			return 2;
		}
		pav::sim::Plan::linger_at(here);
		o.program += " --linger " + o.linger;
	}
	if (app.count("--seed")) {
		Tally tally;

		o.tail = o.verbose ? 0 : o.tail;
		catch_signals();
		const Result r = run_seed(o.seed, o, tally);

		std::cout << fmt::format("seed {}: ok, hash {:016x}\n", o.seed, r.hash);
		return 0;
	}
	o.verbose = false;
	const auto began = std::chrono::steady_clock::now();
	const Summary summary = run_all(o);

	return report(o, summary, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}
