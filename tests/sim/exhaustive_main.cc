// SPDX-License-Identifier: GPL-2.0
// The exhaustive mode's processes, and its summary.
#include "exhaustive.h"

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

// One process: every round, both passes, as far as the clock allows.
[[noreturn]] void job_main(const ExhaustiveOptions &o, unsigned int job, SharedSet &seen, ExhaustiveShared &shared, double deadline_s)
{
	const uint64_t last = o.rounds ? o.first_round + o.rounds : ExhaustiveShared::max_rounds;

	for (uint64_t round = o.first_round; round < last; round++)
		for (unsigned int pass = 1; pass <= 2; pass++) {
			Exhaustive::Setting setting{.round = round, .pass = pass, .job = job, .part = o.part, .parts = o.parts, .watchdog_s = o.watchdog_s,
						    .deadline_s = deadline_s, .verbose = false, .keep_going = o.keep_going, .only = "", .seen = &seen, .shared = &shared};
			Exhaustive run(setting);

			set_report(run, o, job, &shared);
			if (!run.pass())
				_exit(0);
			fail_report() = {};
			shared.rounds[round].finished[pass - 1]++;
		}
	_exit(0);
}

void print_round(uint64_t round, const RoundCounts &n, unsigned int jobs)
{
	const auto how = [&](int pass) { return n.finished[pass] == jobs ? "complete" : "stopped by the clock"; };

	std::printf("round %lu: %lu points (%lu sampled), %lu states checked, %lu alike: %s; recovery cut: "
		    "%lu recoveries (%lu without two drives), %lu points (%lu sampled), %lu states checked, %lu alike: %s\n",
		    round, n.points.load(), n.sampled_points.load(), n.states.load(), n.alike.load(), how(0), n.recoveries.load(), n.recoveries_without_two.load(),
		    n.replay_points.load(), n.replay_sampled.load(), n.replay_states.load(), n.replay_alike.load(), how(1));
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
		run.pass();	// ends the process
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
	uint64_t points = 0, sampled = 0, states = 0, alike = 0, without_two = 0, lives_after = 0, rounds = 0;

	for (uint64_t r = 0; r < ExhaustiveShared::max_rounds; r++) {
		const RoundCounts &n = shared.rounds[r];

		if (!n.points)
			continue;
		print_round(r, n, o.jobs);
		rounds += n.finished[1] == o.jobs;
		points += n.points + n.replay_points;
		sampled += n.sampled_points + n.replay_sampled;
		states += n.states + n.replay_states;
		alike += n.alike + n.replay_alike;
		without_two += n.without_two;
		lives_after += n.lives_after;
	}
	const double seconds = now_s() - began;

	std::printf("exhaustive: %lu points (%lu of them sampled), %lu states checked (%lu more were alike; %lu also without two drives, %lu with a life after), "
		    "%lu rounds complete, %lu failures, %.1f s (%.0f states/s)\n",
		    points, sampled, states, alike, without_two, lives_after, rounds, shared.failures.load(), seconds, static_cast<double>(states) / seconds);
	return broken || shared.failures ? 1 : 0;
}

}  // namespace pav::sim
