// SPDX-License-Identifier: GPL-2.0
// The simulated computer: time, what is pending, fibers, memory. A power cut throws all of it away, and a new one is built.
//
// Everything that can happen next is an event with a time; times come from the seed, and so does the order of events that fall together. Each event
// runs on a fiber of its own, so that the code it calls can be put aside: a worker waits for a mutex, or any code is "preempted" and finds that
// other CPUs have done something meanwhile. There are no threads and no real time: a seed always gives the same run.
#pragma once

#include "prng.h"
#include "trace.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

struct pav_worker;

namespace pav::sim {

struct Fiber {
	uint32_t id = 0;
	const char *name = "";
	std::function<void()> body;
	unsigned int nosleep = 0;	// > 0: as in an interrupt
	bool idle = true;		// in the pool
	bool waking = false;		// an event that resumes it is pending
	char *stack = nullptr;
	void *sp = nullptr;
	void *asan_stack = nullptr;
};

class Machine {
public:
	static constexpr size_t stack_bytes = 128 << 10;

	Machine(Rng &rng, Trace &trace);
	~Machine();
	Machine(const Machine &) = delete;
	Machine &operator=(const Machine &) = delete;

	// The one that runs: the functions of env.h have no argument that says so. Set by the constructor, cleared by the destructor.
	static Machine *current();
	// Where there are several: which of them takes the next step.
	void make_current();
	uint64_t next_due();		// when the next event is; UINT64_MAX: never
	void skip_to(uint64_t now_ns);	// it was put to sleep, and its clock has gone on

	Rng &rng() { return rng_; }
	Trace &trace() { return trace_; }
	uint64_t now_ns() const { return now_; }
	uint64_t events_run() const { return events_run_; }

	// Runs @body in @delay_ns, in a context that must not sleep. Returns a number for cancel().
	uint64_t after(uint64_t delay_ns, std::function<void()> body);
	bool cancel(uint64_t event);
	// Starts @body soon, as a process.
	Fiber &spawn(const char *name, std::function<void()> body);
	// Runs the next event. False: there is none, and what still waits will wait for ever.
	bool step();
	// Fibers that wait for something, for a message about a deadlock.
	std::string stuck() const;

	// ---- for code that runs on a fiber ----
	Fiber *fiber() { return current_fiber_; }
	uint32_t context() const { return current_fiber_ ? current_fiber_->id : UINT32_MAX; }
	void park();			// until wake(); the caller looks again whether it may go on
	void wake(Fiber &fiber);
	void sleep_ns(uint64_t ns);
	void preempt();			// lets others run, if the place allows it; else as soon as it does
	void point(bool sticky);	// a place in the code where it may be put aside: if its turn has come, or because it is sticky
	void relax();			// the same, and it must
	unsigned int preempted() const { return preempted_; }	// so many fibers were put aside in the middle of something
	bool may_sleep() const;
	void must_be_able_to_sleep(const char *what);	// fails the run
	void set_preemption(unsigned int mean_points, uint64_t mean_ns = 5000);	// 0 points: never; for how long
	// The same for those who come to a sticky place: one in so many is put aside; 0: none.
	void set_sticky(unsigned int one_in, uint64_t mean_ns);

	unsigned int spin_depth = 0, vector_depth = 0;

	// ---- memory ----
	void *alloc(size_t bytes, size_t align);	// zeroed
	void free(void *p);
	size_t live_allocations() const { return memory_.size(); }
	std::string describe_leaks() const;

	std::vector<std::unique_ptr<pav_worker>> workers;

private:
	struct Due {
		uint64_t time, tie, id;
		bool operator<(const Due &o) const
		{
			return time != o.time ? time > o.time : tie != o.tie ? tie > o.tie : id > o.id;
		}
	};
	struct Event {
		std::function<void()> body;
		Fiber *resume;
	};

	uint64_t add(uint64_t delay_ns, Event event);
	Fiber &idle_fiber();
	void enter(Fiber &fiber);
	void leave();
	void rearm_preemption();
	static void fiber_main();

	Rng &rng_;
	Trace &trace_;
	uint64_t now_ = 0, next_event_ = 1, events_run_ = 0;
	std::priority_queue<Due> due_;
	std::unordered_map<uint64_t, Event> events_;
	std::vector<std::unique_ptr<Fiber>> fibers_;
	std::vector<Fiber *> pool_;
	Fiber *current_fiber_ = nullptr;
	void *main_sp_ = nullptr;
	void *main_asan_stack_ = nullptr;
	const void *main_stack_bottom_ = nullptr;
	size_t main_stack_bytes_ = 0;
	unsigned int preempt_mean_ = 0, preempted_ = 0;
	uint64_t preempt_ns_ = 5000;
	unsigned int sticky_one_in_ = 0;
	uint64_t sticky_ns_ = 0;
	bool stuck_ = false;		// it came to a sticky place, and is put aside where that may be
	int countdown_ = 1 << 30;	// to the next preemption, while another machine is the current one

	struct Allocation {
		size_t bytes;
		uint64_t serial;
	};
	std::unordered_map<void *, Allocation> memory_;
	uint64_t allocations_ = 0;
};

}  // namespace pav::sim
