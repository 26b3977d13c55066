// SPDX-License-Identifier: GPL-2.0
#include "two_hosts.h"

#include "worker.h"

extern "C" {
#include "format/format.h"
}

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace pav::sim {

namespace {

constexpr uint64_t volume_cells = 1024;
constexpr uint64_t empty_from = volume_cells - PAV_REQ_MAX_CELLS;	// here nothing is ever written
constexpr unsigned int users = 3, request_cells = 16;
constexpr uint64_t patience_beats = 2000;

}  // namespace

TwoHosts::TwoHosts(uint64_t seed, bool verbose) : plan_(seed), rng_(mix64(seed) ^ 0x74776f), trace_(verbose)
{
	// What the other kind of seed is about is left out; a drive's worst delay stays far below a beat.
	plan_.heartbeat_ms = static_cast<unsigned int>(rng_.range(50, 200));
	plan_.latency.slow = 0;
	plan_.latency.superblocks = 1;
	plan_.drive_blocks = std::max(plan_.drive_blocks, 1024 + 150 * plan_.segment_blocks);
	const unsigned int all = plan_.drives + plan_.spares;

	for (unsigned int i = 0; i < all; i++) {
		drives_.push_back(std::make_unique<Drive>(i, plan_.drive_blocks, plan_.volatile_cache));
		drives_[i]->latency = plan_.latency;
		drives_[i]->on_submit = [this, i](const Drive::Command &c) {
			Host &h = running();

			h.stamps += c.op == PAV_IO_WRITE && c.block == PAV_OWNER_CELL;
			if ((c.op != PAV_IO_WRITE && c.op != PAV_IO_DISCARD) || c.block == PAV_OWNER_CELL)
				return;
			if (h.banned)
				fail("%s writes d%u at block %lu, and %s has taken the group over", h.name.c_str(), i, c.block, other(h).name.c_str());
			h.writes++;
			h.acting = true;
			other(h).banned |= other(h).acting;
		};
	}
	if (rng_.percent(40)) {
		absent_.push_back(static_cast<unsigned int>(rng_.below(all)));
		if (rng_.percent(50))
			absent_.push_back((absent_[0] + 1) % all);
	}
	for (unsigned int n = 0; n < 2; n++) {
		Host &h = hosts_[n];

		h.world = this;
		h.number = n;
		h.name = n ? "beta" : "alpha";
		h.rate = rng_.range(900, 1100);
		for (auto &drive : drives_)
			h.devs.push_back({drive.get()});
	}
	ops_.event = on_event;
	host_options() = {};
	host_options().on_log = [this](pav_level, const char *text) { on_log(text); };
	plan_.set_engine_parameters();
	trace_.add_text(0, "two hosts", plan_.describe());
}

TwoHosts::~TwoHosts()
{
	host_options() = {};
}

// ---- time ----

uint64_t TwoHosts::local(const Host &h, uint64_t time)
{
	return (time - h.born) / 1000 * h.rate + (time - h.born) % 1000 * h.rate / 1000;
}

uint64_t TwoHosts::global(const Host &h, uint64_t time)
{
	return h.born + (time + h.rate - 1) / h.rate * 1000;
}

// What is done from here on is done by @h, now.
void TwoHosts::enter(Host &h)
{
	h.machine->make_current();
	h.machine->skip_to(local(h, now_));
}

bool TwoHosts::step()
{
	Host *first = nullptr;
	uint64_t when = UINT64_MAX;

	for (Host &h : hosts_) {
		if (!h.machine || h.paused)
			continue;
		const uint64_t due = h.machine->next_due();

		if (due != UINT64_MAX && global(h, due) < when) {
			when = global(h, due);
			first = &h;
		}
	}
	if (!first)
		return false;
	now_ = std::max(now_, when);
	first->machine->make_current();
	return first->machine->step();
}

template <typename P> void TwoHosts::run_until(const char *what, P done)
{
	const uint64_t deadline = now_ + patience_beats * plan_.heartbeat_ms * 1'000'000;

	while (!done()) {
		std::string stuck;

		for (const Host &h : hosts_)
			stuck += h.machine ? h.name + ": " + h.machine->stuck() + "; " : "";
		if (!step())
			fail("%s: nothing can happen any more; waiting: %s", what, stuck.c_str());
		if (now_ > deadline)
			fail("%s takes for ever; waiting: %s", what, stuck.c_str());
	}
}

void TwoHosts::run_for(uint64_t ns)
{
	const uint64_t until = now_ + ns;
	Host *awake = nullptr;

	for (Host &h : hosts_)
		if (h.machine && !h.paused)
			awake = &h;
	if (awake) {
		enter(*awake);
		awake->machine->after(ns * awake->rate / 1000 + 1, [] {});
		run_until("time", [this, until] { return now_ >= until; });
	}
	now_ = std::max(now_, until);
}

template <typename F> void TwoHosts::as_process(Host &h, const char *name, F body)
{
	bool done = false;

	enter(h);
	h.machine->spawn(name, [&done, &body] {
		body();
		done = true;
	});
	run_until(name, [&done] { return done; });
}

// ---- lives of a host ----

void TwoHosts::power_on(Host &h)
{
	h.machine = std::make_unique<Machine>(rng_, trace_);
	h.machine->make_current();
	h.machine->set_preemption(plan_.preemption);
	h.born = now_;
	h.lives++;
	trace_.add(now_, "power on", h.number, h.lives);
}

void TwoHosts::die(Host &h)
{
	trace_.add(now_, "dies", h.number);
	// If it had the group, whatever it had in flight is done now, or never.
	if (h.engine && !h.banned)
		oracle_.cut(++time_);
	enter(h);
	for (auto &drive : drives_)
		drive->host_died(h.machine.get(), rng_);
	h.machine.reset();
	h.engine = nullptr;
	h.volume = nullptr;
	h.paused = h.users = h.lost = h.faulted = h.acting = h.banned = h.ousted = false;
	h.opening = {};
	h.requests.clear();
	h.in_flight = 0;
	h.verify.clear();
	tally_["two hosts: deaths"]++;
}

void TwoHosts::pause(Host &h)
{
	// Not between a look at the clock and what is done because of it: that counts as done when the clock was looked at (DESIGN.md, A2).
	run_until("code that was put aside", [&h] { return !h.machine->preempted(); });
	trace_.add(now_, "stands still", h.number);
	h.paused = true;
	// What it has sent off is done by the drives meanwhile.
	for (auto &drive : drives_)
		drive->land(h.machine.get(), h.machine->rng());
}

void TwoHosts::resume(Host &h)
{
	trace_.add(now_, "goes on", h.number);
	h.paused = false;
	h.machine->skip_to(local(h, now_));
	// Some are there before anything else is, with what would ask no drive.
	if (h.users && h.engine && rng_.percent(30)) {
		enter(h);
		submit(h, PAV_UNMAP, empty_from + rng_.below(200), 1, false);
	}
}

void TwoHosts::close(Host &h)
{
	pav_err err{};
	int result = 0;

	h.users = false;
	run_until("the last requests", [&h] { return h.in_flight == 0; });
	as_process(h, "close", [&] { result = pav_engine_close(h.engine, &err); });
	h.engine = nullptr;
	h.volume = nullptr;
	if (result && !h.lost)
		fail("%s: close fails with %d: %s", h.name.c_str(), result, err.text);
}

void TwoHosts::retire(Host &h)
{
	if (h.engine)
		close(h);
	enter(h);
	if (h.machine->live_allocations())
		fail("%s leaves memory behind: %s", h.name.c_str(), h.machine->describe_leaks().c_str());
	if (!h.machine->workers.empty())
		fail("%s leaves worker %s behind", h.name.c_str(), h.machine->workers.front()->name.c_str());
	h.machine.reset();
	h.requests.clear();
	h.lost = h.faulted = false;
}

// ---- opening ----

void TwoHosts::begin_open(Host &h, bool takeover)
{
	auto args = std::make_shared<std::vector<pav_drive_arg>>();
	const bool some_absent = rng_.percent(50);

	for (unsigned int i = 0; i < h.devs.size(); i++)
		if (!some_absent || std::find(absent_.begin(), absent_.end(), i) == absent_.end())
			args->push_back({&h.devs[i], false});
	enter(h);
	h.opening = {.done = false, .takeover = takeover, .began = h.machine->now_ns()};
	h.acting = h.banned = h.lost = h.faulted = h.ousted = false;
	trace_.add(now_, takeover ? "takes over" : "opens", h.number);
	h.machine->spawn("open", [this, &h, args] {
		pav_open_params params{};

		params.streams = plan_.streams;
		params.cache_nodes = plan_.cache_nodes;
		params.host_id[0] = static_cast<u8>(1 + h.number);
		std::memcpy(params.boot_id, &h.lives, sizeof h.lives);
		params.host_name = h.name.c_str();
		params.heartbeat_ms = plan_.heartbeat_ms;
		params.takeover = h.opening.takeover;
		params.ops = &ops_;
		params.host = &h;
		h.opening.result = pav_engine_open(args->data(), static_cast<unsigned int>(args->size()), &params, &h.engine, &h.opening.err);
		h.opening.took = h.machine->now_ns() - h.opening.began;
		if (h.opening.result == 0)
			opened(h);
		else if (!h.opening.err.text[0])
			fail("%s: open is refused with %d, and no word of why", h.name.c_str(), h.opening.result);
		trace_.add_text(now_, "open ends", h.name + " " + std::to_string(h.opening.result) + " " + h.opening.err.text);
		h.opening.done = true;
	});
}

void TwoHosts::finish_open(Host &h)
{
	run_until("an open", [&h] { return h.opening.done; });
}

void TwoHosts::opened(Host &h)
{
	Host &o = other(h);

	h.volume = pav_volume_by_id(h.engine, 0);
	if (o.engine && !o.banned && !h.lost)
		fail("%s has the group open, and %s may still write", h.name.c_str(), o.name.c_str());
	// What the other had in flight is there, or never will be.
	oracle_.cut(++time_);
	o.ousted = true;
	h.ousted = false;
	for (auto &r : o.requests)
		r->orphan = true;
}

void TwoHosts::must_open(Host &h, bool takeover, const char *when)
{
	begin_open(h, takeover);
	finish_open(h);
	if (h.opening.result)
		fail("%s: open %s fails with %d: %s", h.name.c_str(), when, h.opening.result, h.opening.err.text);
}

void TwoHosts::must_be_refused(Host &h, const char *when)
{
	begin_open(h, false);
	finish_open(h);
	if (h.opening.result != -EBUSY)
		fail("%s: open %s ends with %d: %s", h.name.c_str(), when, h.opening.result, h.opening.err.text);
	const std::string text = h.opening.err.text;

	for (const std::string &part : {std::string("group sim"), "host " + other(h).name, std::string("takeover")})
		if (text.find(part) == std::string::npos)
			fail("%s: the refusal does not say \"%s\": %s", h.name.c_str(), part.c_str(), text.c_str());
	tally_["two hosts: opens refused"]++;
}

void TwoHosts::must_have_lost(Host &h, const char *when)
{
	run_until(when, [&h] { return h.lost && h.faulted; });
	h.users = false;
	run_until("the last requests of a host that has lost the group", [&h] { return h.in_flight == 0; });
	tally_["two hosts: groups lost"]++;
}

// An open that has no other host to wait for: by its own word it waits @most_ns, and where nothing lingers it takes less than a fence in all.
void TwoHosts::must_not_have_waited(const Host &h, uint64_t most_ns, const char *when)
{
	if (h.opening.waits > most_ns || (plan_.sticky.empty() && h.opening.took > fence()))
		fail("%s: open %s takes %lu ms, %lu of them by its own word to wait", h.name.c_str(), when, h.opening.took / 1'000'000,
		     h.opening.waits / 1'000'000);
}

// How long an open waits for the other host. How long it takes in all says little of that: replay takes what it takes, and code may linger in it.
void TwoHosts::on_log(const char *text)
{
	uint64_t &waits = running().opening.waits;

	for (const std::string before : {"whether that changes, for ", "as told; waiting "})
		if (const char *at = std::strstr(text, before.c_str()))
			waits = std::max<uint64_t>(waits, std::strtoull(at + before.size(), nullptr, 10) * 1'000'000);
}

void TwoHosts::on_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text)
{
	Host &h = *static_cast<Host *>(host);

	(void)volume;
	(void)slot;
	(void)value;
	h.world->trace_.add_text(h.world->now_, "event", h.name + " " + std::to_string(type) + ": " + (text ? text : ""));
	if (type == PAV_EVENT_OWNER_LOST) {
		h.lost = true;
		if (!text || std::string(text).find(h.world->other(h).name) == std::string::npos)
			fail("%s has lost the group and does not say to whom: %s", h.name.c_str(), text ? text : "");
	}
	if (type == PAV_EVENT_OWNER_LATE)
		h.late++;
	if (type == PAV_EVENT_GROUP_FAULTED) {
		h.faulted = true;
		if (!h.lost)
			fail("%s: the group is faulted, and nothing has happened to it: %s", h.name.c_str(), text ? text : "");
	}
	if (type == PAV_EVENT_DATA_LOST && !h.banned)
		fail("%s: data lost: %s", h.name.c_str(), text ? text : "");
}

// ---- users ----

void TwoHosts::submit(Host &h, pav_req_op op, uint64_t lba, unsigned int cells, bool verify)
{
	auto it = std::find_if(h.requests.begin(), h.requests.end(), [](const auto &r) { return !r->in_flight; });

	if (it == h.requests.end()) {
		auto fresh = std::make_unique<Request>();

		fresh->memory = {static_cast<uint8_t *>(std::aligned_alloc(cell_bytes, request_cells * cell_bytes)), std::free};
		fresh->cells = fresh->memory.get();
		fresh->crc.resize(request_cells);
		fresh->host = &h;
		it = h.requests.insert(h.requests.end(), std::move(fresh));
	}
	Request &r = **it;

	r.scattered = false;
	r.began = ++time_;
	r.in_flight = true;
	r.orphan = h.ousted;
	r.verify = verify;
	r.req = pav_req{};
	r.req.vol = h.volume;
	r.req.lba = lba;
	r.req.cells = cells;
	r.req.op = op;
	r.req.env.sim = static_cast<UserMemory *>(&r);
	r.req.crc = op == PAV_READ ? r.crc.data() : nullptr;
	r.req.done = [](pav_req *req) {
		Request &done = *static_cast<Request *>(static_cast<UserMemory *>(req->env.sim));

		done.host->world->finish(done);
	};
	h.in_flight++;
	if (op == PAV_READ) {
		std::memset(r.cells, 0x5a, cells * cell_bytes);
	} else {
		r.write = {lba, cells, next_version_++, 0, op == PAV_UNMAP, r.began};
		for (unsigned int i = 0; op == PAV_WRITE && i < cells; i++)
			stamp_cell({r.cells + i * cell_bytes, cell_bytes}, oracle_.uid(), lba + i, r.write.version);
		if (!r.orphan)
			oracle_.write_begins(r.write);
	}
	trace_.add(now_, op == PAV_READ ? "> read" : op == PAV_WRITE ? "> write" : "> unmap", h.number, lba, cells, op == PAV_READ ? r.began : r.write.version);
	pav_submit(&r.req);
}

void TwoHosts::finish(Request &r)
{
	Host &h = *r.host;
	const int error = r.req.error;
	const Time now = ++time_;

	trace_.add(now_, error ? "< error" : "< done", h.number, r.req.lba, r.req.cells, r.req.op == PAV_READ ? r.began : r.write.version);
	h.in_flight--;
	// What is told of it may be on its way still.
	if (error && !h.lost)
		h.machine->after(10'000'000, [&h, error] {
			if (!h.lost)
				fail("%s: a request fails with %d, and nobody has taken the group", h.name.c_str(), error);
		});
	if (r.orphan) {
		if (!error && r.req.op != PAV_READ)
			fail("%s acknowledges version %lu, and %s has the group open", h.name.c_str(), r.write.version, other(h).name.c_str());
	} else if (r.req.op != PAV_READ) {
		oracle_.write_ends(r.write, error == 0, now);
		tally_["two hosts: writes"]++;
	} else {
		for (unsigned int i = 0; i < r.req.cells && !error; i++) {
			const auto wrong = oracle_.read_ends(r.req.lba + i, {r.cells + i * cell_bytes, cell_bytes}, r.began, now);

			if (wrong)
				fail("%s: %s", h.name.c_str(), wrong->c_str());
		}
		tally_["two hosts: reads"]++;
	}
	// The engine has the request in its hands until it returns from here.
	h.machine->after(1, [this, &h, &r, verify = r.verify] {
		r.in_flight = false;
		if (verify)
			verify_more(h);
		else
			user_later(h);
	});
}

void TwoHosts::start_users(Host &h)
{
	enter(h);
	h.users = true;
	h.shift++;
	for (unsigned int i = 0; i < users; i++)
		user_later(h);
}

void TwoHosts::user_later(Host &h)
{
	if (h.users)
		h.machine->after(rng_.skewed(uint64_t{plan_.heartbeat_ms} * 1'000'000 / 4), [this, &h, shift = h.shift] { user_turn(h, shift); });
}

void TwoHosts::user_turn(Host &h, unsigned int shift)
{
	if (!h.users || shift != h.shift)
		return;
	const pav_req_op op = rng_.percent(65) ? PAV_WRITE : rng_.percent(5) ? PAV_UNMAP : PAV_READ;
	const unsigned int cells = rng_.percent(70) ? 1 : static_cast<unsigned int>(rng_.range(1, request_cells));
	const uint64_t lba = rng_.percent(50) ? rng_.below(32) : rng_.below(empty_from / PAV_REQ_MAX_CELLS) * PAV_REQ_MAX_CELLS + rng_.below(200);

	submit(h, op, lba, cells, false);
}

void TwoHosts::verify_more(Host &h)
{
	if (h.verify.empty())
		return;
	const auto [lba, cells] = h.verify.back();

	h.verify.pop_back();
	submit(h, PAV_READ, lba, cells, true);
}

// Until the host has sent off some of the writes of a stripe or two, maybe all, and knows of none that it is done.
void TwoHosts::amid_writes(Host &h)
{
	const uint64_t enough = 1 + rng_.below(2 * (plan_.data_drives + 2));
	std::optional<uint64_t> before;

	enter(h);
	h.machine->after(1, [this, &h, &before] {
		before = h.writes;
		for (int i = 0; i < 4; i++)
			submit(h, PAV_WRITE, rng_.below(32), 1, true);
	});
	run_until("writes", [&h, &before, enough] { return before && (h.writes >= *before + enough || h.in_flight == 0); });
}

void TwoHosts::read_back(Host &h)
{
	for (auto lba = oracle_.next_touched(0); lba;) {
		const auto cells = static_cast<unsigned int>(std::min<uint64_t>(request_cells, PAV_REQ_MAX_CELLS - *lba % PAV_REQ_MAX_CELLS));

		h.verify.emplace_back(*lba, cells);
		lba = oracle_.next_touched(*lba + cells);
	}
	enter(h);
	for (int i = 0; i < 4; i++)
		h.machine->after(1 + i, [this, &h] { verify_more(h); });
	run_until("reading everything back", [&h] { return h.verify.empty() && h.in_flight == 0; });
}

// ---- what happens ----

// The owner has died, or closed the group, and both open it at once. At most one may get it.
TwoHosts::Host &TwoHosts::both_open(Host &a, Host &b)
{
	if (a.engine && rng_.percent(50)) {
		close(a);
		begin_open(a, false);
		run_for(rng_.below(2 * plan_.latency.read + 1));
		begin_open(b, false);
	} else {
		die(a);
		power_on(a);
		begin_open(a, rng_.percent(20));
		if (rng_.percent(50))
			run_for(rng_.below(watch()));
		begin_open(b, rng_.percent(20));
	}
	run_until("two opens", [&] { return a.opening.done && b.opening.done; });
	tally_["two hosts: opens at once"]++;
	for (Host *h : {&a, &b}) {
		Host &o = other(*h);

		// One may have got it and lost it to the other since, if that was told to take it.
		if (h->opening.result == 0 && o.opening.result == 0) {
			if (!a.opening.takeover && !b.opening.takeover)
				fail("both hosts have opened the group, and neither was told to take it over");
			run_until("the loss of one", [&] { return a.lost || b.lost; });
			Host &loser = a.lost ? a : b;

			must_have_lost(loser, "the loss of one");
			retire(loser);
			power_on(loser);
			return other(loser);
		}
		if (h->opening.result == 0)
			return *h;
	}
	tally_["two hosts: opens at once, both refused"]++;
	if (a.opening.result != -EBUSY || b.opening.result != -EBUSY)
		fail("of two opens at once one ends with %d (%s), the other with %d (%s)", a.opening.result, a.opening.err.text, b.opening.result, b.opening.err.text);
	return both_open(a, b);
}

// The owner stands still, wakes for a moment, and stands still again, while the other opens the group.
TwoHosts::Host &TwoHosts::stutter(Host &owner)
{
	Host &h = owner, &o = other(owner);
	const uint64_t beat = uint64_t{plan_.heartbeat_ms} * 1'000'000;
	const uint64_t began = now_;

	if (const uint64_t n = h.stamps; rng_.percent(60))
		run_until("a stamp", [&h, n] { return h.stamps > n; });
	pause(h);
	begin_open(o, false);
	while (!o.opening.done) {
		// For less than its lease; or until about when the other has seen enough.
		uint64_t still = rng_.below(fence());

		if (const uint64_t enough = began + watch() + rng_.below(beat) - beat / 4; rng_.percent(50) && enough > now_)
			still = enough - now_;
		for (; still && !o.opening.done; still -= std::min(still, beat / 10))
			run_for(std::min(still, beat / 10));
		resume(h);
		if (rng_.percent(50))
			amid_writes(h);
		else
			run_for(rng_.below(rng_.percent(50) ? beat / 100 + 1 : beat));
		if (!o.opening.done)
			pause(h);
	}
	if (h.paused)
		resume(h);
	tally_["two hosts: came and went"]++;
	if (o.opening.result == 0) {
		must_have_lost(h, "the loss of a group while its host came and went");
		retire(h);
		power_on(h);
		return o;
	}
	if (o.opening.result != -EBUSY)
		fail("%s: open while the other comes and goes ends with %d: %s", o.name.c_str(), o.opening.result, o.opening.err.text);
	// A claim that was given up may have cost the owner the group all the same.
	run_for(2 * watch());
	if (!h.lost)
		return h;
	must_have_lost(h, "the loss of a group to a claim that was given up");
	retire(h);
	power_on(h);
	must_open(o, false, "after a claim that was given up");
	tally_["two hosts: came and went, and lost it to nobody"]++;
	return o;
}

// The stamps rot, all at once. The owner writes them again, some at each beat; once more round, and the lease runs as before.
void TwoHosts::wipe_stamps(Host &owner)
{
	for (auto &drive : drives_)
		drive->rot(PAV_OWNER_CELL, rng_);
	run_for((2 * drives_.size() + 8) * plan_.heartbeat_ms * 1'000'000);
	if (owner.lost)
		fail("%s: lost the group, and only its stamps were unreadable", owner.name.c_str());
	tally_["two hosts: stamps rotten"]++;
}

TwoHosts::Host &TwoHosts::one_round(Host &owner)
{
	Host &h = owner, &o = other(owner);

	if (rng_.percent(10))
		wipe_stamps(h);
	switch (rng_.below(11)) {
	case 0:
		must_be_refused(o, "while the other works");
		if (h.lost)
			fail("%s has lost the group to an open that was refused", h.name.c_str());
		return h;
	case 1:
		close(h);
		must_open(o, rng_.percent(20), "after a close");
		must_not_have_waited(o, 0, "after a close");
		tally_["two hosts: handed over"]++;
		return o;
	case 2:
		die(h);
		run_for(rng_.below(fence()));
		must_open(o, rng_.percent(20), "after a death");
		if (o.opening.waits < fence() || o.opening.took < o.opening.waits)
			fail("%s: open after a death takes only %lu ms, and says it waits for %lu", o.name.c_str(), o.opening.took / 1'000'000,
			     o.opening.waits / 1'000'000);
		power_on(h);
		tally_["two hosts: taken from the dead"]++;
		return o;
	case 3:
		die(h);
		power_on(h);
		must_open(h, false, "after its own death");
		must_not_have_waited(h, fence() / 2, "after its own death");
		tally_["two hosts: opened after a reboot"]++;
		return h;
	case 4:
		must_open(o, true, "by force");
		must_have_lost(h, "the loss of the group");
		retire(h);
		power_on(h);
		tally_["two hosts: taken from the living"]++;
		return o;
	case 5: {	// the owner stands still; the other tries
		const bool force = rng_.percent(50);
		const bool as_it_claims = rng_.percent(30);
		uint64_t until = rng_.below(3 * watch());

		// In the middle of a round, or anywhere.
		if (const uint64_t n = h.stamps; rng_.percent(40))
			run_until("a stamp", [&h, n] { return h.stamps > n; });
		else if (rng_.percent(60))
			amid_writes(h);
		pause(h);
		run_for(rng_.below(watch()));
		begin_open(o, force);
		if (const uint64_t n = o.stamps; as_it_claims)
			run_until("a claim", [&o, n] { return o.opening.done || o.stamps > n; });
		while (!o.opening.done && until && !as_it_claims) {
			const uint64_t some = std::min(until, watch() / 20);

			run_for(some);
			until -= some;
		}
		resume(h);
		finish_open(o);
		if (o.opening.result == 0) {
			must_have_lost(h, "the loss of a group while its host stood still");
			retire(h);
			power_on(h);
			tally_["two hosts: taken from a sleeper"]++;
			return o;
		}
		if (o.opening.result != -EBUSY || force)
			fail("%s: open while the other stands still ends with %d: %s", o.name.c_str(), o.opening.result, o.opening.err.text);
		break;
	}
	case 6: {	// the owner stands still, and nobody minds
		const uint64_t late = h.late;

		pause(h);
		run_for(rng_.below(3 * watch()));
		const bool long_enough = rng_.percent(50);

		if (long_enough)
			run_for(2 * fence());
		resume(h);
		run_for(4 * uint64_t{plan_.heartbeat_ms} * 1'000'000);
		if (long_enough && h.late == late)
			fail("%s stood still for longer than its lease, and did not notice", h.name.c_str());
		tally_["two hosts: slept undisturbed"]++;
		break;
	}
	case 7: {	// the other dies while it opens
		begin_open(o, rng_.percent(70));
		run_for(rng_.below(2 * watch()));
		if (o.opening.done && o.opening.result == 0) {
			must_have_lost(h, "the loss of the group");
			retire(h);
			power_on(h);
			return o;
		}
		die(o);
		power_on(o);
		run_for(3 * watch());
		if (!h.lost)
			break;
		must_have_lost(h, "the loss of the group to one who died");
		retire(h);
		power_on(h);
		must_open(h, false, "after a taker's death");
		tally_["two hosts: taken by one who died"]++;
		return h;
	}
	case 8:
	case 9:
		return stutter(h);
	default:
		return both_open(h, o);
	}
	// The owner is who it was, and nothing was done to it.
	if (h.lost)
		fail("%s has lost the group, and nobody took it", h.name.c_str());
	return h;
}

void TwoHosts::run()
{
	std::vector<pav_drive_arg> args;
	pav_create_params create{};
	pav_err err{};
	int result = 0;
	Host *owner = &hosts_[0];

	power_on(hosts_[0]);
	power_on(hosts_[1]);
	for (unsigned int i = 0; i < drives_.size(); i++)
		args.push_back({&owner->devs[i], i >= plan_.drives});
	std::snprintf(create.name, sizeof create.name, "sim");
	create.data_drives = plan_.data_drives;
	create.segment_blocks = plan_.segment_blocks;
	as_process(*owner, "create", [&] { result = pav_engine_create(args.data(), static_cast<unsigned int>(args.size()), &create, &err); });
	if (result)
		fail("create fails with %d: %s", result, err.text);
	hosts_[0].acting = false;
	must_open(*owner, false, "the first time");
	as_process(*owner, "volume", [&] {
		pav_volume_ident ident{};

		std::snprintf(ident.name, sizeof ident.name, "v");
		result = pav_volume_create(owner->engine, &ident, volume_cells, &owner->volume, &err);
	});
	if (result)
		fail("a volume cannot be made: %d: %s", result, err.text);
	for (unsigned int i = 0; i < plan_.incarnations + 1; i++) {
		start_users(*owner);
		run_for(rng_.below(2 * fence()));
		if (!absent_.empty() && rng_.percent(30))
			drives_[absent_[0]]->rot(PAV_OWNER_CELL, rng_);
		owner = &one_round(*owner);
		owner->users = false;
		run_until("the last requests", [&] { return owner->in_flight == 0; });
		if (owner->lost)
			fail("%s has lost the group, and nobody took it", owner->name.c_str());
		read_back(*owner);
		tally_["two hosts: rounds"]++;
	}
	retire(*owner);
	retire(other(*owner));
}

void TwoHosts::add_to(Tally &tally) const
{
	for (const auto &[name, n] : tally_)
		tally[name] += n;
	tally["seeds"]++;
	tally["seeds of two hosts"]++;
}

}  // namespace pav::sim
