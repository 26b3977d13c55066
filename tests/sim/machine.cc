// SPDX-License-Identifier: GPL-2.0
#include "machine.h"

#include "worker.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#error "the simulator switches stacks by hand, and knows x86-64 only"
#endif

// sim_switch(save, load): stores the stack pointer to *save, goes on where the stack @load was left. Only what a call keeps is kept.
extern "C" void sim_switch(void **save, void *load);
asm(R"(
	.text
	.globl	sim_switch
	.type	sim_switch, @function
sim_switch:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
	.size	sim_switch, . - sim_switch
)");

extern "C" int sim_countdown;
int sim_countdown = 1 << 30;

namespace pav::sim {

namespace {

Machine *the_machine;

// Stacks are used again by later machines of the process: mapping them anew for each would take longer than many a run.
std::vector<char *> &spare_stacks()
{
	static std::vector<char *> stacks;
	return stacks;
}

char *new_stack()
{
	std::vector<char *> &spare = spare_stacks();

	if (!spare.empty()) {
		char *stack = spare.back();

		spare.pop_back();
		return stack;
	}
	constexpr size_t guard = 4096;
	void *p = mmap(nullptr, Machine::stack_bytes + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || mprotect(p, guard, PROT_NONE))
		fail("no memory for the stack of a fiber");
	return static_cast<char *>(p) + guard;
}

void old_stack(char *stack)
{
#if defined(__SANITIZE_ADDRESS__)
	__asan_unpoison_memory_region(stack, Machine::stack_bytes);
#endif
	spare_stacks().push_back(stack);
}

// So is memory of a page and more: an engine takes a thousand of them at each start. Not under AddressSanitizer, which is to see who looks at them late.
std::vector<void *> &spare_memory(size_t bytes)
{
	static std::unordered_map<size_t, std::vector<void *>> spare;
	return spare[bytes];
}

constexpr size_t page = 4096;

size_t rounded_up(size_t bytes, size_t align)
{
	return (std::max<size_t>(bytes, 1) + align - 1) / align * align;
}

bool is_recycled(size_t rounded)
{
#if defined(__SANITIZE_ADDRESS__)
	return false;
#else
	return rounded >= page;
#endif
}

void *new_memory(size_t rounded, size_t align)
{
	if (!is_recycled(rounded))
		return align > alignof(std::max_align_t) ? std::aligned_alloc(align, rounded) : std::malloc(rounded);
	std::vector<void *> &spare = spare_memory(rounded);

	if (spare.empty())
		return std::aligned_alloc(page, rounded_up(rounded, page));
	void *p = spare.back();

	spare.pop_back();
	return p;
}

void old_memory(void *p, size_t rounded)
{
	if (is_recycled(rounded))
		spare_memory(rounded).push_back(p);
	else
		std::free(p);
}

}  // namespace

Machine *Machine::current()
{
	return the_machine;
}

void Machine::make_current()
{
	if (the_machine == this)
		return;
	if (the_machine)
		the_machine->countdown_ = sim_countdown;
	the_machine = this;
	sim_countdown = countdown_;
}

uint64_t Machine::next_due()
{
	while (!due_.empty() && !events_.count(due_.top().id))
		due_.pop();
	return due_.empty() ? UINT64_MAX : std::max(now_, due_.top().time);
}

void Machine::skip_to(uint64_t now_ns)
{
	now_ = std::max(now_, now_ns);
}

Machine::Machine(Rng &rng, Trace &trace) : rng_(rng), trace_(trace)
{
	make_current();
}

Machine::~Machine()
{
	for (auto &[p, allocation] : memory_)
		old_memory(p, allocation.bytes);
	for (auto &fiber : fibers_)
		old_stack(fiber->stack);
	if (the_machine == this)
		the_machine = nullptr;
}

// ---- events ----

uint64_t Machine::add(uint64_t delay_ns, Event event)
{
	const uint64_t id = next_event_++;

	due_.push({now_ + delay_ns, rng_.next(), id});
	events_.emplace(id, std::move(event));
	return id;
}

uint64_t Machine::after(uint64_t delay_ns, std::function<void()> body)
{
	return add(delay_ns, {std::move(body), nullptr});
}

bool Machine::cancel(uint64_t event)
{
	return events_.erase(event) != 0;
}

bool Machine::step()
{
	if (current_fiber_)
		fail("simulator: step() from a fiber");
	while (!due_.empty()) {
		const Due due = due_.top();
		const auto it = events_.find(due.id);

		due_.pop();
		if (it == events_.end())
			continue;
		Event event = std::move(it->second);
		events_.erase(it);
		now_ = std::max(now_, due.time);
		events_run_++;
		if (event.resume) {
			event.resume->waking = false;
			enter(*event.resume);
		} else {
			Fiber &fiber = idle_fiber();

			fiber.name = "event";
			fiber.body = std::move(event.body);
			fiber.nosleep = 1;
			enter(fiber);
		}
		return true;
	}
	return false;
}

std::string Machine::stuck() const
{
	std::string out;

	for (const auto &f : fibers_)
		if (!f->idle)
			out += std::string(out.empty() ? "" : ", ") + f->name;
	return out;
}

// ---- fibers ----

void Machine::fiber_main()
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(nullptr, &the_machine->main_stack_bottom_, &the_machine->main_stack_bytes_);
#endif
	for (;;) {
		Machine &m = *the_machine;
		Fiber &self = *m.current_fiber_;

		self.body();
		self.body = nullptr;
		if (m.spin_depth || m.vector_depth)
			fail("%s ended with %u spinlock(s) held, %u vector section(s) open", self.name, m.spin_depth, m.vector_depth);
		self.idle = true;
		m.pool_.push_back(&self);
		m.leave();
	}
}

Fiber &Machine::idle_fiber()
{
	if (pool_.empty()) {
		auto fiber = std::make_unique<Fiber>();

		fiber->id = static_cast<uint32_t>(fibers_.size()) + 1;
		fiber->stack = new_stack();
		// As sim_switch() leaves a stack: six registers, where to go on; above, an empty slot in place of a caller.
		auto **top = reinterpret_cast<void **>(fiber->stack + stack_bytes);
		*--top = nullptr;
		*--top = reinterpret_cast<void *>(&Machine::fiber_main);
		for (int i = 0; i < 6; i++)
			*--top = nullptr;
		fiber->sp = top;
		pool_.push_back(fiber.get());
		fibers_.push_back(std::move(fiber));
	}
	Fiber &fiber = *pool_.back();

	pool_.pop_back();
	fiber.idle = false;
	fiber.nosleep = 0;
	fiber.waking = false;
	return fiber;
}

void Machine::enter(Fiber &fiber)
{
	current_fiber_ = &fiber;
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&main_asan_stack_, fiber.stack, stack_bytes);
#endif
	sim_switch(&main_sp_, fiber.sp);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(main_asan_stack_, nullptr, nullptr);
#endif
	current_fiber_ = nullptr;
}

void Machine::leave()
{
	Fiber &self = *current_fiber_;

	if (spin_depth || vector_depth)
		fail("%s is put aside with %u spinlock(s) held, %u vector section(s) open", self.name, spin_depth, vector_depth);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&self.asan_stack, main_stack_bottom_, main_stack_bytes_);
#endif
	sim_switch(&self.sp, main_sp_);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(self.asan_stack, &main_stack_bottom_, &main_stack_bytes_);
#endif
}

Fiber &Machine::spawn(const char *name, std::function<void()> body)
{
	Fiber &fiber = idle_fiber();

	fiber.name = name;
	fiber.body = std::move(body);
	wake(fiber);
	return fiber;
}

void Machine::wake(Fiber &fiber)
{
	if (fiber.waking)
		return;
	fiber.waking = true;
	add(rng_.skewed(2000), {nullptr, &fiber});
}

void Machine::park()
{
	must_be_able_to_sleep("wait");
	leave();
}

void Machine::sleep_ns(uint64_t ns)
{
	must_be_able_to_sleep("sleep");
	current_fiber_->waking = true;
	add(ns, {nullptr, current_fiber_});
	leave();
}

bool Machine::may_sleep() const
{
	return current_fiber_ && !current_fiber_->nosleep && !spin_depth && !vector_depth;
}

void Machine::must_be_able_to_sleep(const char *what)
{
	if (!current_fiber_)
		fail("%s: not on a fiber", what);
	if (!may_sleep())
		fail("%s where nothing may sleep: %s, %u spinlock(s), %u vector section(s)", what,
		     current_fiber_->nosleep ? "completion or timer" : "process", spin_depth, vector_depth);
}

void Machine::set_preemption(unsigned int mean_points, uint64_t mean_ns)
{
	preempt_mean_ = mean_points;
	preempt_ns_ = mean_ns;
	rearm_preemption();
}

void Machine::set_sticky(unsigned int one_in, uint64_t mean_ns)
{
	sticky_one_in_ = one_in;
	sticky_ns_ = mean_ns;
}

void Machine::rearm_preemption()
{
	sim_countdown = preempt_mean_ ? static_cast<int>(1 + rng_.skewed(preempt_mean_)) : 1 << 30;
}

void Machine::point(bool sticky)
{
	stuck_ = stuck_ || (sticky && sticky_one_in_ && rng_.below(sticky_one_in_) == 0);
	if (stuck_ || sim_countdown <= 0)
		preempt();
}

void Machine::preempt()
{
	if (!current_fiber_ || spin_depth || vector_depth) {
		sim_countdown = 1;	// at the next point where it may be
		return;
	}
	rearm_preemption();
	if (!stuck_ && preempt_mean_ == 0)
		return;
	current_fiber_->waking = true;
	add(rng_.skewed(stuck_ ? sticky_ns_ : preempt_ns_), {nullptr, current_fiber_});
	stuck_ = false;
	preempted_++;
	leave();
	preempted_--;
}

void Machine::relax()
{
	if (!current_fiber_ || spin_depth || vector_depth)
		fail("cpu_relax() where no other code can run: it would spin for ever");
	current_fiber_->waking = true;
	add(1 + rng_.below(1000), {nullptr, current_fiber_});
	leave();
}

// ---- memory ----

void *Machine::alloc(size_t bytes, size_t align)
{
	const size_t rounded = rounded_up(bytes, align);
	void *p = new_memory(rounded, align);

	if (!p)
		fail("this computer has no %zu bytes left", bytes);
	std::memset(p, 0, bytes);
	memory_[p] = {rounded, ++allocations_};
	return p;
}

void Machine::free(void *p)
{
	if (!p)
		return;
	const auto it = memory_.find(p);

	if (it == memory_.end())
		fail("memory freed that was not allocated, or twice");
	old_memory(p, it->second.bytes);
	memory_.erase(it);
}

std::string Machine::describe_leaks() const
{
	std::vector<Allocation> all;
	std::string out = std::to_string(memory_.size()) + " allocation(s):";

	for (const auto &[p, allocation] : memory_)
		all.push_back(allocation);
	std::sort(all.begin(), all.end(), [](const Allocation &a, const Allocation &b) { return a.serial < b.serial; });
	for (size_t i = 0; i < std::min<size_t>(all.size(), 8); i++)
		out += " #" + std::to_string(all[i].serial) + " of " + std::to_string(all[i].bytes) + " bytes";
	return out;
}

}  // namespace pav::sim
