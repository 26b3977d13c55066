// SPDX-License-Identifier: GPL-2.0
// The exhaustive mode's processes, and its summary.
#include "exhaustive.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace pav::sim {

namespace {

double now_s()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void set_report(const World &world, const ExhaustiveOptions &o, unsigned int job, const ExhaustiveShared *shared)
{
	FailReport &report = fail_report();

	report.trace = &world.trace();
	report.tail = o.verbose ? 0 : 40;
	report.header = [&world, &o, job, shared](std::FILE *out) {
		if (shared && shared->state[job][0])
			std::fprintf(out, "%s\nreplay: %s --exhaustive --state %s -v\n", world.plan().describe().c_str(), o.program.c_str(), shared->state[job]);
	};
}

// One process: slice by slice, as far as the clock allows.
class Job {
public:
	Job(const ExhaustiveOptions &options, unsigned int number, SharedSet &seen, ExhaustiveShared &shared, double deadline_s)
		: options_(options), shared_(shared)
	{
		setting_.job = number;
		setting_.part = options.part;
		setting_.parts = options.parts;
		setting_.watchdog_s = options.watchdog_s;
		setting_.deadline_s = deadline_s;
		setting_.keep_going = options.keep_going;
		setting_.seen = &seen;
		setting_.shared = &shared;
	}

	// Rounds from @first up to @last, both passes of all of them side by side. False: stopped.
	bool set_of_rounds(uint64_t first, uint64_t last)
	{
		for (uint64_t round = first; round < last; round++) {
			uint64_t points = 0;

			if (!run(round, 0, 0, &points))
				return false;
			shared_.rounds[round].points = points;	// as all jobs find
		}
		for (;;) {
			RoundCounts *next = nullptr;
			uint64_t round = 0;
			unsigned int pass = 0;

			for (uint64_t r = first; r < last; r++)
				for (unsigned int p = 1; p <= 2; p++) {
					RoundCounts &n = shared_.rounds[r];

					if (n.taken[p - 1] < n.slices(p) && (!next || n.spent_ms[p - 1] < next->spent_ms[pass - 1])) {
						next = &n;
						round = r;
						pass = p;
					}
				}
			if (!next)
				return true;
			const uint64_t slice = next->taken[pass - 1]++;

			if (slice >= next->slices(pass))
				continue;	// another has just taken the last one
			const double began = now_s();

			next->spent_ms[pass - 1] += guess_ms;	// so that the other jobs look elsewhere meanwhile
			if (!run(round, pass, slice, nullptr))
				return false;
			next->spent_ms[pass - 1] += static_cast<uint64_t>((now_s() - began) * 1000) - guess_ms;
			next->finished[pass - 1]++;
		}
	}

private:
	static constexpr uint64_t guess_ms = 1000;

	bool run(uint64_t round, unsigned int pass, uint64_t slice, uint64_t *points)
	{
		setting_.round = round;
		setting_.pass = pass;
		setting_.slice = slice;
		Exhaustive run(setting_);

		set_report(run, options_, setting_.job, &shared_);
		const bool through = run.run_slice();

		fail_report() = {};
		if (points)
			*points = run.points();
		return through;
	}

	const ExhaustiveOptions &options_;
	ExhaustiveShared &shared_;
	Exhaustive::Setting setting_;
};

[[noreturn]] void job_main(const ExhaustiveOptions &o, unsigned int number, SharedSet &seen, ExhaustiveShared &shared, double deadline_s)
{
	const uint64_t last = o.rounds ? o.first_round + o.rounds : ExhaustiveShared::max_rounds;
	Job job(o, number, seen, shared, deadline_s);

	for (uint64_t first = o.first_round; first < last; first += Plan::scripts)
		if (!job.set_of_rounds(first, std::min(last, first + Plan::scripts)))
			break;
	_exit(0);
}

void print_round(uint64_t round, const RoundCounts &n)
{
	const auto how = [&](unsigned int pass) {
		return n.complete(pass) ? "complete" : fmt::format("{:.1f} % of it", 100.0 * static_cast<double>(n.finished[pass - 1]) / static_cast<double>(n.slices(pass)));
	};

	fmt::print("round {}: {} points ({} sampled), {} states checked, {} alike: {}; recovery cut: "
		   "{} recoveries ({} without two drives), {} points ({} sampled), {} states checked, {} alike: {}\n",
		   round, n.points.load(), n.sampled_points.load(), n.states.load(), n.alike.load(), how(1), n.recoveries.load(), n.recoveries_without_two.load(),
		   n.replay_points.load(), n.replay_sampled.load(), n.replay_states.load(), n.replay_alike.load(), how(2));
}

void print_unreached(const ExhaustiveShared &shared)
{
	const std::vector<Mark> all = marks();
	std::string names;

	for (size_t i = 0; i < std::min(all.size(), ExhaustiveShared::max_marks); i++)
		if (!shared.marks[i])
			names += (names.empty() ? "" : ", ") + all[i].name;
	fmt::print("rare branches never reached: {}\n", names.empty() ? "none" : names);
}

}  // namespace

int run_exhaustive(const ExhaustiveOptions &o)
{
	// The engine's buffers come and go by the hundred thousand: keep them, rather than giving the pages back each time.
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	void *memory = mmap(nullptr, sizeof(ExhaustiveShared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("no memory to share between processes");
	auto &shared = *static_cast<ExhaustiveShared *>(memory);

	if (!o.state.empty()) {
		Exhaustive::Setting setting{};

		setting.round = std::strtoull(o.state.c_str(), nullptr, 10);
		setting.only = o.state;
		setting.verbose = o.verbose;
		setting.watchdog_s = o.watchdog_s;
		Exhaustive run(setting);

		set_report(run, o, 0, nullptr);
		run.run_slice();	// ends the process
		return 1;
	}
	SharedSet seen;
	const double began = now_s(), deadline = o.minutes > 0 ? began + o.minutes * 60 : 0;
	std::vector<pid_t> jobs;

	std::fflush(nullptr);
	for (unsigned int job = 0; job < o.jobs; job++) {
		const pid_t pid = fork();

		if (pid < 0)
			fail("fork: %s", std::strerror(errno));
		if (pid == 0)
			job_main(o, job, seen, shared, deadline);
		jobs.push_back(pid);
	}
	bool broken = false;

	for (const pid_t pid : jobs) {
		int status = 0;

		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			broken = true;	// the script itself failed, where no power was cut
			shared.stop = true;
		}
	}
	uint64_t points = 0, sampled = 0, states = 0, alike = 0, without_two = 0, without_two_others = 0, lives_after = 0, rounds = 0;

	for (uint64_t r = 0; r < ExhaustiveShared::max_rounds; r++) {
		const RoundCounts &n = shared.rounds[r];

		if (!n.points)
			continue;
		print_round(r, n);
		rounds += n.complete(1) && n.complete(2);
		points += n.points + n.replay_points;
		sampled += n.sampled_points + n.replay_sampled;
		states += n.states + n.replay_states;
		alike += n.alike + n.replay_alike;
		without_two += n.without_two;
		without_two_others += n.without_two_others;
		lives_after += n.lives_after;
	}
	print_unreached(shared);
	const double seconds = now_s() - began;

	std::printf("exhaustive: %lu points (%lu of them sampled), %lu states checked (%lu more were alike; %lu also without two drives, "
		    "%lu without two that were never lost, %lu with a life after), %lu rounds complete, %lu failures, %.1f s (%.0f states/s)\n",
		    points, sampled, states, alike, without_two, without_two_others, lives_after, rounds, shared.failures.load(), seconds, static_cast<double>(states) / seconds);
	return broken || shared.failures ? 1 : 0;
}

}  // namespace pav::sim
