// SPDX-License-Identifier: GPL-2.0
// env.h on a simulated machine. Contexts are checked: what may sleep fails the run when it is called where nothing may.
#include "host.h"
#include "worker.h"

#include "raid6.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

using pav::sim::cell_bytes;
using pav::sim::fail;
using pav::sim::Fiber;
using pav::sim::Machine;

namespace {

constexpr int made_lock = 0x10c4;
constexpr uint32_t made_item = 0x17e2;

Machine &machine()
{
	Machine *m = Machine::current();

	if (!m)
		fail("the engine runs without a machine");
	return *m;
}

// ---- a queue of waiting fibers, kept in a list_head; entries live on the waiters' stacks ----

struct Waiter {
	list_head link;
	Fiber *fiber;
};

void init_waiters(list_head &h)
{
	h.next = h.prev = &h;
}

void wait_in(list_head &h)
{
	Waiter w{{&h, h.prev}, machine().fiber()};

	h.prev->next = &w.link;
	h.prev = &w.link;
	machine().park();
}

bool wake_first(list_head &h)
{
	if (h.next == &h)
		return false;
	auto *w = reinterpret_cast<Waiter *>(h.next);

	static_assert(offsetof(Waiter, link) == 0);
	h.next = w->link.next;
	h.next->prev = &h;
	machine().wake(*w->fiber);
	return true;
}

void worker_main(pav_worker *w)
{
	unsigned int in_a_row = 0;

	for (;;) {
		while (!w->queue.empty()) {
			// Work takes time: a worker that spins must not keep the clock, and all others, from going on.
			if (++in_a_row % 8 == 0)
				machine().sleep_ns(1 + machine().rng().below(2000));
			pav_work *work = w->queue.front();

			w->queue.pop_front();
			work->worker = nullptr;	// may be queued again from now on
			work->fn(work);
			if (machine().spin_depth || machine().vector_depth)
				fail("%s: a work item ended with a spinlock held", w->name.c_str());
			w->done++;
			for (Fiber *waiter : w->waiters)
				machine().wake(*waiter);
		}
		if (w->ending)
			break;
		w->idle = true;
		machine().park();
		w->idle = false;
	}
	w->ended = true;
	for (Fiber *waiter : w->waiters)
		machine().wake(*waiter);
}

// Waits in w->waiters until @ready. What is on the stack here is not destroyed at a power cut, and owns nothing.
template <typename F> void wait_for_worker(pav_worker *w, F ready)
{
	machine().must_be_able_to_sleep("waiting for a worker");
	if (machine().fiber() == w->fiber)
		fail("%s waits for itself", w->name.c_str());
	while (!ready()) {
		w->waiters.push_back(machine().fiber());
		machine().park();
		w->waiters.erase(std::find(w->waiters.begin(), w->waiters.end(), machine().fiber()));
	}
}

}  // namespace

extern "C" {

// ---- primitives of linux_like.h ----

void sim_preempt(const struct sim_place *place)
{
	if (Machine::current())
		machine().point(place->sticky);
	else
		sim_countdown = 1 << 30;
}

void sim_relax(void)
{
	machine().relax();
}

void cond_resched(void)
{
	machine().must_be_able_to_sleep("cond_resched()");
	machine().preempt();
}

void sim_warn(const char *cond, const char *file, int line)
{
	fail("WARN_ON(%s) at %s:%d", cond, file, line);
}

void sim_assert_held(const struct sim_dep *dep, const char *what, const char *file, int line)
{
	if (dep->holder != machine().context())
		fail("%s:%d: %s is not held here", file, line, what);
}

void sim_spin_init(spinlock_t *lock)
{
	lock->dep.holder = 0;
	lock->made = made_lock;
}

void sim_spin_lock(spinlock_t *lock)
{
	Machine &m = machine();

	if (lock->made != made_lock)
		fail("a spinlock is taken that was never initialised");
	if (lock->dep.holder)
		fail("a spinlock is taken twice by %s", m.fiber() ? m.fiber()->name : "the simulator");
	lock->dep.holder = m.context();
	m.spin_depth++;
}

bool sim_spin_trylock(spinlock_t *lock)
{
	if (lock->dep.holder)
		return false;
	sim_spin_lock(lock);
	return true;
}

void sim_spin_unlock(spinlock_t *lock)
{
	Machine &m = machine();

	if (lock->dep.holder != m.context())
		fail("a spinlock is released that is not held here");
	lock->dep.holder = 0;
	m.spin_depth--;
}

void mutex_init(struct mutex *m)
{
	m->dep.holder = 0;
	m->made = made_lock;
	init_waiters(m->waiters);
}

void mutex_lock(struct mutex *m)
{
	machine().must_be_able_to_sleep("mutex_lock()");
	if (m->made != made_lock)
		fail("a mutex is taken that was never initialised");
	if (m->dep.holder == machine().context())
		fail("a mutex is taken twice by %s", machine().fiber()->name);
	while (m->dep.holder)
		wait_in(m->waiters);
	m->dep.holder = machine().context();
}

bool mutex_trylock(struct mutex *m)
{
	if (m->dep.holder)
		return false;
	m->dep.holder = machine().context();
	return true;
}

void mutex_unlock(struct mutex *m)
{
	if (m->dep.holder != machine().context())
		fail("a mutex is released that is not held here");
	m->dep.holder = 0;
	wake_first(m->waiters);
}

bool mutex_is_locked(struct mutex *m)
{
	return m->dep.holder != 0;
}

void init_completion(struct completion *c)
{
	c->done = 0;
	init_waiters(c->waiters);
}

void reinit_completion(struct completion *c)
{
	c->done = 0;
}

void complete(struct completion *c)
{
	if (c->done != UINT_MAX)
		c->done++;
	wake_first(c->waiters);
}

void complete_all(struct completion *c)
{
	c->done = UINT_MAX;
	while (wake_first(c->waiters))
		;
}

void wait_for_completion(struct completion *c)
{
	machine().must_be_able_to_sleep("wait_for_completion()");
	while (!c->done)
		wait_in(c->waiters);
	if (c->done != UINT_MAX)
		c->done--;
}

// ---- memory ----

static bool allocation_fails(void)
{
	pav::sim::HostOptions &o = pav::sim::host_options();

	machine().must_be_able_to_sleep("allocating memory");
	if (!machine().rng().one_in(o.alloc_failure))
		return false;
	o.alloc_failures++;
	machine().trace().add(machine().now_ns(), "no memory");
	return true;
}

void *pav_alloc(size_t bytes)
{
	return allocation_fails() ? nullptr : machine().alloc(bytes, alignof(std::max_align_t));
}

void pav_free(void *p)
{
	if (p)
		machine().must_be_able_to_sleep("freeing memory");
	machine().free(p);
}

void *pav_alloc_cells(unsigned int cells)
{
	if (cells == 0 || cells > 64)
		fail("pav_alloc_cells(%u): 1…64 may be asked for", cells);
	return allocation_fails() ? nullptr : machine().alloc(cells * cell_bytes, cell_bytes);
}

void pav_free_cells(void *p, unsigned int cells)
{
	(void)cells;
	pav_free(p);
}

// ---- time and chance ----

u64 pav_now_ns(void)
{
	return machine().now_ns();
}

u64 pav_real_seconds(void)
{
	return static_cast<u64>(1'700'000'000 + pav::sim::host_options().clock_is_off_s) + machine().now_ns() / 1'000'000'000;
}

void pav_random(void *buf, size_t bytes)
{
	auto *out = static_cast<uint8_t *>(buf);

	while (bytes--)
		*out++ = static_cast<uint8_t>(machine().rng().next() >> 56);
}

unsigned int pav_cpu(void)
{
	return static_cast<unsigned int>(machine().rng().below(8));
}

bool pav_in_process(void)
{
	return machine().may_sleep();
}

// ---- workers ----

struct pav_worker *pav_worker_create(const char *name)
{
	if (allocation_fails())
		return nullptr;
	machine().workers.push_back(std::make_unique<pav_worker>());
	pav_worker *w = machine().workers.back().get();

	w->name = name;
	w->fiber = &machine().spawn(w->name.c_str(), [w] { worker_main(w); });
	return w;
}

void pav_worker_destroy(struct pav_worker *w)
{
	if (!w)
		return;
	w->ending = true;
	if (w->idle)
		machine().wake(*w->fiber);
	wait_for_worker(w, [w] { return w->ended; });
	auto &all = machine().workers;

	all.erase(std::find_if(all.begin(), all.end(), [w](const auto &other) { return other.get() == w; }));
}

void pav_work_init(struct pav_work *work, pav_work_fn fn)
{
	*work = {{nullptr, nullptr}, nullptr, fn, made_item};
}

bool pav_work_queue(struct pav_worker *w, struct pav_work *work)
{
	if (work->made != made_item)
		fail("%s: a work item is queued that was never initialised", w->name.c_str());
	if (w->ended)
		fail("%s: work is queued after its end", w->name.c_str());
	if (--sim_countdown <= 0)
		machine().preempt();
	if (work->worker) {
		if (work->worker != w)
			fail("a work item of %s is queued to %s too", work->worker->name.c_str(), w->name.c_str());
		return false;
	}
	work->worker = w;
	w->queue.push_back(work);
	w->queued++;
	if (w->idle)
		machine().wake(*w->fiber);
	return true;
}

void pav_work_flush(struct pav_worker *w)
{
	const uint64_t until = w->queued;

	wait_for_worker(w, [w, until] { return w->done >= until; });
}

void pav_sleep_ns(u64 ns)
{
	machine().sleep_ns(ns);
}

// ---- timers ----

void pav_timer_init(struct pav_timer *t, void (*fn)(struct pav_timer *t))
{
	*t = {fn, 0, 0, made_item};
}

void pav_timer_arm(struct pav_timer *t, u64 delay_ns)
{
	if (t->made != made_item)
		fail("a timer is armed that was never initialised");
	if (t->event)
		machine().cancel(t->event);
	t->event = machine().after(delay_ns, [t] {
		t->event = 0;
		t->running++;
		t->fn(t);
		t->running--;
	});
}

void pav_timer_cancel(struct pav_timer *t)
{
	if (t->event)
		machine().cancel(t->event);
	t->event = 0;
	while (t->running)
		machine().sleep_ns(1000);
}

// ---- vector registers ----

void pav_vector_begin(void)
{
	if (machine().vector_depth++)
		fail("pav_vector_begin() within itself");
}

void pav_vector_end(void)
{
	if (machine().vector_depth-- != 1)
		fail("pav_vector_end() without begin");
}

// ---- messages ----

void pav_log(enum pav_level level, const char *fmt, ...)
{
	static const char *const names[] = {"info", "warn", "err"};
	pav::sim::HostOptions &o = pav::sim::host_options();
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	std::vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (std::strchr(text, '\n') && std::strchr(text, '\n')[1])
		fail("pav_log(): more than one line: %s", text);
	o.warnings += level == PAV_WARN;
	o.errors += level == PAV_ERR;
	machine().trace().add_text(machine().now_ns(), names[level], text);
	if (o.on_log)
		o.on_log(level, text);
}

// ---- drives ----

u64 pav_dev_blocks(const struct pav_dev *dev)
{
	return dev->drive->blocks();
}

bool pav_dev_volatile(const struct pav_dev *dev)
{
	return dev->drive->has_volatile_cache();
}

bool pav_dev_discards(const struct pav_dev *dev)
{
	return dev->drive->discards;
}

const char *pav_dev_name(const struct pav_dev *dev)
{
	return dev->drive->name().c_str();
}

void pav_io_submit(struct pav_io *io)
{
	Machine &m = machine();

	if (io->op == PAV_IO_READ || io->op == PAV_IO_WRITE) {
		if (!io->buf || reinterpret_cast<uintptr_t>(io->buf) % cell_bytes || io->cells > 64)
			fail("%s: I/O of %u cells with memory %p: want 4 KiB alignment, at most 64 cells", pav_dev_name(io->dev), io->cells, io->buf);
	} else if (io->buf) {
		fail("%s: flush or discard with memory", pav_dev_name(io->dev));
	}
	if (--sim_countdown <= 0)
		m.preempt();
	io->error = -EINPROGRESS;
	io->dev->drive->submit({.op = io->op,
				.block = io->block,
				.cells = io->cells,
				.fua = io->fua,
				.from = io->op == PAV_IO_WRITE ? io->buf : nullptr,
				.into = io->op == PAV_IO_READ ? io->buf : nullptr,
				.done =
					[io](int error) {
						io->error = error;
						io->done(io);
					},
				.data = {}});
}

// ---- users' requests ----

static pav::sim::UserMemory &memory_of(const struct pav_req *req)
{
	return *static_cast<pav::sim::UserMemory *>(req->env.sim);
}

static uint8_t *cells_of(const struct pav_req *req, unsigned int idx, unsigned int n)
{
	if (idx >= req->cells || n > req->cells - idx)
		fail("cells %u+%u of a request of %u", idx, n, req->cells);
	return memory_of(req).cells + idx * cell_bytes;
}

const void *pav_req_cell(struct pav_req *req, unsigned int idx, void *bounce)
{
	const uint8_t *cell = cells_of(req, idx, 1);

	if (req->op != PAV_WRITE)
		fail("pav_req_cell() of a request that is no write");
	if (!memory_of(req).scattered || machine().rng().percent(50))
		return cell;
	if (!bounce)
		fail("pav_req_cell() without a bounce buffer");
	std::memcpy(bounce, cell, cell_bytes);
	return bounce;
}

void pav_req_put(struct pav_req *req, unsigned int idx, const void *cell)
{
	if (req->op != PAV_READ)
		fail("pav_req_put() into a request that is no read");
	std::memcpy(cells_of(req, idx, 1), cell, cell_bytes);
}

void pav_req_zero(struct pav_req *req, unsigned int idx, unsigned int n)
{
	if (req->op != PAV_READ)
		fail("pav_req_zero() of a request that is no read");
	std::memset(cells_of(req, idx, n), 0, n * cell_bytes);
}

void pav_uio_read(struct pav_req *req, unsigned int idx, unsigned int n, struct pav_dev *dev, u64 block, void (*done)(struct pav_uio *uio), void *ctx)
{
	if (req->op != PAV_READ)
		fail("pav_uio_read() for a request that is no read");
	if (--sim_countdown <= 0)
		machine().preempt();
	dev->drive->submit({.op = PAV_IO_READ,
			    .block = block,
			    .cells = n,
			    .fua = false,
			    .from = nullptr,
			    .into = cells_of(req, idx, n),
			    .done =
				    [req, idx, n, done, ctx](int error) {
					    pav_uio uio{req, idx, n, ctx, error, done};

					    done(&uio);
				    },
			    .data = {}});
}

unsigned int pav_uio_verify(struct pav_uio *uio, const u32 *crc, unsigned int from)
{
	const uint8_t *cells = cells_of(uio->req, uio->idx, uio->n);
	unsigned int i = from;

	while (i < uio->n && pav_crc32c(0, cells + i * cell_bytes, cell_bytes) == crc[i])
		i++;
	return i;
}

// ---- rare branches: the linker puts the marks one after another ----

extern struct sim_mark marks_begin[] __asm__("__start_pav_marks") __attribute__((weak));
extern struct sim_mark marks_end[] __asm__("__stop_pav_marks") __attribute__((weak));
extern struct sim_place places_begin[] __asm__("__start_pav_places") __attribute__((weak));
extern struct sim_place places_end[] __asm__("__stop_pav_places") __attribute__((weak));

}  // extern "C"

namespace pav::sim {

HostOptions &host_options()
{
	static HostOptions options;
	return options;
}

std::vector<Mark> marks()
{
	std::map<std::string, uint64_t> by_name;

	for (const sim_mark *m = marks_begin; m && m < marks_end; m++)
		if (m->name)
			by_name[m->name] += m->count;
	std::vector<Mark> out;

	for (const auto &[name, count] : by_name)
		out.push_back({name, count});
	return out;
}

uint64_t reached(std::string_view branch)
{
	uint64_t n = 0;

	for (const sim_mark *m = marks_begin; m && m < marks_end; m++)
		n += m->name && m->name == branch ? m->count : 0;
	return n;
}

void reset_marks()
{
	for (sim_mark *m = marks_begin; m && m < marks_end; m++)
		m->count = 0;
}

// ---- places: the same ----

static std::string place_name(const sim_place &place)
{
	const std::string file = std::filesystem::path(place.file).lexically_normal().string();
	const size_t kmod = file.rfind("kmod/");

	return (kmod == std::string::npos ? "" : file.substr(kmod) + ":" + std::to_string(place.line));
}

const std::vector<std::string> &places()
{
	static const std::vector<std::string> all = [] {
		std::set<std::string> names;

		for (const sim_place *p = places_begin; p && p < places_end; p++)
			if (p->file)
				names.insert(place_name(*p));
		names.erase("");	// of the simulator itself
		return std::vector<std::string>(names.begin(), names.end());
	}();
	return all;
}

std::vector<std::string> places_in(const std::string &where)
{
	const size_t colon = where.find(':'), dash = where.find('-', colon);
	const std::string file = where.substr(0, colon) + ":";
	const long first = colon == std::string::npos ? 0 : std::atol(where.c_str() + colon + 1);
	const long last = colon == std::string::npos ? LONG_MAX : dash == std::string::npos ? first : std::atol(where.c_str() + dash + 1);
	std::vector<std::string> out;

	for (const std::string &place : places()) {
		const long line = std::atol(place.c_str() + place.find(':') + 1);

		if (place.compare(0, file.size(), file) == 0 && line >= first && line <= last)
			out.push_back(place);
	}
	return out;
}

void set_sticky_places(const std::vector<std::string> &names)
{
	for (sim_place *p = places_begin; p && p < places_end; p++)
		if (p->file && (p->sticky || !names.empty()))
			p->sticky = std::find(names.begin(), names.end(), place_name(*p)) != names.end();
}

}  // namespace pav::sim
