// SPDX-License-Identifier: GPL-2.0
#include "world.h"

#include "worker.h"

extern "C" {
#include "format/format.h"
}

#include <algorithm>
#include <string_view>
#include <utility>

namespace pav::sim {

namespace {

constexpr uint64_t second_ns = 1'000'000'000;
constexpr uint64_t events_limit = 10'000'000;

}  // namespace

World::World(Plan plan, uint64_t seed, bool verbose) : plan_(std::move(plan)), rng_(seed), trace_(verbose), suspects_(plan_.suspects), load_(plan_, rng_, *this)
{
	const unsigned int all = plan_.drives + plan_.spares + plan_.newcomers;

	for (unsigned int i = 0; i < all; i++) {
		drives_.push_back(std::make_unique<Drive>(i, plan_.drive_blocks, plan_.volatile_cache));
		drives_[i]->latency = plan_.latency;
		drives_[i]->discards = plan_.discards && rng_.percent(80);
		drives_[i]->on_submit = [this, i](const Drive::Command &c) {
			if (c.op == PAV_IO_WRITE && c.block != PAV_OWNER_CELL && (written_to_[i] == 0) == (c.block >= superblocks_end))
				written_to_[i]++;
			touched_.insert(i);
			// What is under way when it is let go of the host waits for.
			if (released_.count(i) && engine_ && !changing_ && i != asked_for_)
				fail("d%u is used, and the engine has let go of it", i);
			if (writes_forbidden_ && (c.op == PAV_IO_WRITE || c.op == PAV_IO_DISCARD))
				fail("d%u is written at block %lu, and %s", i, c.block, writes_forbidden_);
		};
	}
	written_to_.resize(all);
	for (auto &drive : drives_)
		devs_.push_back({drive.get()});
	ops_.event = on_event;
	ops_.release = on_release;
	plan_.set_engine_parameters();
	load_.control_extra = [this] {
		if (rng_.percent(10))
			set_scrub(rng_.percent(80));
		else if (rng_.percent(40))
			bring_home();
		else
			fail_by_hand();
	};
	trace_.add_text(0, "plan", plan_.describe());
}

// Space is given back by and by, and each life may leave segments part-filled.
bool World::no_space_is_legal() const
{
	uint64_t written = 0, raw = 0;

	for (const auto &drive : drives_) {
		written += drive->stats().write_cells;
		raw += drive->blocks();
	}
	const uint64_t left_behind = (lives_ + cuts_ + 1) * (plan_.streams + 3) * plan_.segment_blocks * drives_.size();

	// Narrow stripes leave cells of their rows unwritten, and there is the reserve. What would lie on lost drives, up to half of a row of four, is not written.
	return written + left_behind > raw / (drives_are_lost() ? 10 : 5);
}

// There is always room for one (I13), as long as the drives are there. Rot takes no room.
bool World::checkpoints_may_be_refused() const
{
	return lost_third_ || drives_come_and_go(engine_);
}

// ---- lives ----

void World::power_on(bool may_fail_allocations)
{
	machine_ = std::make_unique<Machine>(rng_, trace_);
	changing_ = false;
	asked_for_ = being_added_ = nobody;
	released_.clear();
	touched_.clear();
	machine_->set_preemption(plan_.preemption, plan_.preemption_ns);
	machine_->set_sticky(plan_.sticky_one_in, plan_.sticky_ns);
	host_options() = {};
	host_options().alloc_failure = may_fail_allocations ? plan_.alloc_failure : 0;
	said_faulted_ = false;
	telling_ = 0;
	stalls_until_ns_ = stamps_rot_ns_ = 0;
	writes_forbidden_ = nullptr;
	lives_++;
	for (auto &drive : drives_)
		drive->starts();
	for (unsigned int &n : written_to_)
		n = holds_data(n) ? n : 0;
	trace_.add(0, "power on", lives_);
	set_clock();
}

void World::power_off(const char *how)
{
	if (machine_->live_allocations())
		fail("%s leaves memory behind: %s", how, machine_->describe_leaks().c_str());
	if (!machine_->workers.empty())
		fail("%s leaves worker %s behind", how, machine_->workers.front()->name.c_str());
	for (const auto &drive : drives_)
		if (drive->commands_in_flight())
			fail("%s leaves %zu commands in flight on %s", how, drive->commands_in_flight(), drive->name().c_str());
	// Nothing may happen any more but what the workload itself has planned.
	for (int i = 0; i < 200 && machine_->step(); i++)
		;
	load_.closed();
	events_ += machine_->events_run();
	alloc_failures_ += host_options().alloc_failures;
	machine_.reset();
	engine_ = nullptr;
	cut_at_ = UINT64_MAX;
}

void World::cut()
{
	trace_.add(machine_->now_ns(), "power cut", machine_->events_run());
	cuts_++;
	load_.cut();
	events_ += machine_->events_run();
	alloc_failures_ += host_options().alloc_failures;
	machine_.reset();
	engine_ = nullptr;
	cut_at_ = UINT64_MAX;
	for (auto &drive : drives_)
		drive->power_cut(rng_, plan_.cut_keep_percent, plan_.shorn_percent);
}

// Of virtual time: then a thing is stuck. On a machine that puts threads aside for 4 us of each step they take, only after twice as much, and so on. And a
// group that wins little with each checkpoint gives up after as many as it has segments, each with some commits; the slowest drive decides. And a replay
// reads cell by cell what cannot be read at once: from a drive that is a hundred times slower than others, and has bad blocks, that takes minutes.
uint64_t World::patience_ns() const
{
	const uint64_t put_aside = (plan_.preemption ? plan_.preemption_ns / plan_.preemption : 0) + (plan_.sticky.empty() ? 0 : plan_.sticky_ns / plan_.sticky_one_in);

	const uint64_t superblock_ns = plan_.latency.write * plan_.latency.superblocks * plan_.suspects_slower * (1 + (plan_.latency.slow ? 100 / plan_.latency.slow : 0));
	const uint64_t giving_up_ns = 8 * superblock_ns * (plan_.drive_blocks / plan_.segment_blocks);

	return 20 * second_ns * (1 + plan_.suspects_slower * plan_.latency.read / 2'000'000 + put_aside / 4000) + giving_up_ns;
}

World::Outcome World::run_until(const char *what, const std::function<bool()> &done)
{
	return run_until(what, done, machine_->now_ns() + patience_ns());
}

World::Outcome World::run_until(const char *what, const std::function<bool()> &done, uint64_t deadline)
{
	while (!done()) {
		if (machine_->events_run() >= cut_at_)
			return Outcome::cut;
		if (!machine_->step())
			fail("%s: nothing can happen any more; waiting: %s", what, machine_->stuck().c_str());
		after_event();
		if (machine_->now_ns() > deadline || machine_->events_run() > events_limit)
			fail("%s takes for ever; waiting: %s", what, machine_->stuck().c_str());
	}
	return Outcome::ok;
}

// Runs @body as a process of the machine, and the machine until it is done.
World::Outcome World::as_process(const char *name, const std::function<void()> &body)
{
	bool done = false;

	machine_->spawn(name, [&done, &body] {
		body();
		done = true;
	});
	return run_until(name, [&done] { return done; });
}

bool World::create()
{
	std::vector<pav_drive_arg> args;
	pav_create_params params{};
	pav_err err{};
	int result = 0;

	for (unsigned int i = 0; i < plan_.drives + plan_.spares; i++)
		args.push_back({&devs_[i], i >= plan_.drives});
	std::snprintf(params.name, sizeof params.name, "sim");
	params.data_drives = plan_.data_drives;
	params.segment_blocks = plan_.segment_blocks;
	params.reserve_percent = plan_.reserve_percent;
	const bool spoil = rng_.percent(10);

	if (spoil)
		cut_at_ = 1 + rng_.below(200);
	const uint64_t failures = host_options().alloc_failures;
	const Outcome outcome = as_process("create", [&] { result = pav_engine_create(args.data(), static_cast<unsigned int>(args.size()), &params, &err); });

	if (outcome == Outcome::cut) {
		cut();
		tally_["cuts in create"]++;
	} else {
		if (result && !(result == -ENOMEM && host_options().alloc_failures > failures))
			fail("create fails with %d: %s", result, err.text);
		power_off("create");
		if (result == 0)
			return true;
	}
	// What is half there is wiped before the next attempt.
	power_on(false);
	result = 0;
	as_process("wipe", [&] { result = pav_engine_wipe(args.data(), static_cast<unsigned int>(args.size()), &err); });
	if (result)
		fail("wipe after a cut in create fails with %d: %s", result, err.text);
	power_off("wipe");
	return false;
}

// @may_refuse: drives that are there may be known to have missed something, which then are too many.
World::Outcome World::open(const std::vector<unsigned int> &absent, bool may_refuse)
{
	const auto is_absent = [&absent](unsigned int i) { return std::find(absent.begin(), absent.end(), i) != absent.end(); };
	std::vector<pav_drive_arg> args;
	pav_open_params params{};
	pav_err err{};
	int result = 0;
	unsigned int there = 0;

	for (unsigned int i = 0; i < devs_.size(); i++) {
		there += !is_absent(i) && !drives_[i]->gone();
		if (!is_absent(i))
			args.push_back({&devs_[i], false});
	}
	for (size_t i = args.size(); i > 1; i--)
		std::swap(args[i - 1], args[rng_.below(i)]);
	params.streams = plan_.streams;
	params.cache_nodes = plan_.cache_nodes;
	params.no_discard = rng_.percent(10);
	params.expect_name = rng_.percent(50) ? "sim" : nullptr;
	params.host_id[0] = 1;
	std::memcpy(params.boot_id, &lives_, sizeof lives_);
	params.host_name = "sim-host";
	params.heartbeat_ms = plan_.heartbeat_ms;
	params.ops = &ops_;
	params.host = this;
	const bool too_few = there + 2 < devs_.size() && !plan_.newcomers;
	const uint64_t failures = host_options().alloc_failures;

	const auto written = [this] {
		uint64_t n = 0;

		for (const auto &drive : drives_)
			n += drive->stats().writes;
		return n;
	};
	const uint64_t before = written();

	if (too_few && !lost_third_)
		writes_forbidden_ = "too few drives are there to open the group";
	const Outcome outcome =
		as_process("open", [&] { result = pav_engine_open(args.data(), static_cast<unsigned int>(args.size()), &params, &engine_, &err); });

	writes_forbidden_ = nullptr;
	if (outcome == Outcome::cut)
		return outcome;
	if (too_few) {
		if (result && written() != before)
			fail("a group that stays closed is written to");
		// Of those that failed first nothing may have been in need any more.
		if (result == 0 && lost_third_)
			return Outcome::ok;
		if (result == 0)
			fail("the group opens with %u of %zu drives", there, devs_.size());
		if (!err.text[0])
			fail("open is refused with %d, and no word of why", result);
		tally_["opens refused: too few drives"]++;
		return Outcome::refused;
	}
	if (result == -ENOMEM && host_options().alloc_failures > failures) {
		tally_["opens refused: no memory"]++;
		return Outcome::refused;
	}
	if (result == -ENOMEDIUM && may_refuse && err.text[0])
		return Outcome::refused;
	if (result)
		fail("open with %u of %zu drives fails with %d: %s", there, devs_.size(), result, err.text);
	tally_["opens"]++;
	return as_process("look", [&] {
		check_drives();
		scrub_goes_on();
		load_.opened(*machine_, engine_);
	});
}

World::Outcome World::read_back()
{
	load_.start_verify();
	return run_until("reading everything back", [this] { return load_.quiet(); });
}

// When nobody is at work, and the engine has nothing to do either: are its counts right? Sometimes it finds no rest; then another time.
World::Outcome World::check_counts()
{
	const auto idle = [this] { return std::all_of(machine_->workers.begin(), machine_->workers.end(), [](const auto &w) { return w->idle && w->queue.empty(); }); };
	const uint64_t patience = machine_->now_ns() + 100'000'000;
	bool done = false;

	if (run_until("the engine's rest", [&] { return idle() || machine_->now_ns() > patience; }) == Outcome::cut)
		return Outcome::cut;
	if (!idle()) {
		tally_["counts of cells not checked"]++;
		return Outcome::ok;
	}
	const Outcome outcome = as_process("counts", [&] {
		done = load_.check_counts(idle);
		// Where no drive lies about what it holds, all that is not known to be missing is there.
		if (!plan_.secret_harm()) {
			load_.check_rows([](pav_dev *dev, u64 block) {
				const CellRef cell = dev->drive->peek(block);

				return cell ? static_cast<const void *>(cell->data()) : nullptr;
			});
			tally_["rows checked on the drives"]++;
		}
	});

	tally_[done ? "counts of cells checked" : "counts of cells not checked"]++;
	return outcome;
}

World::Outcome World::close()
{
	pav_err err{};
	int result = 0;
	bool unsettled = false;

	load_.stop_users();
	if (run_until("the last requests", [this] { return load_.quiet(); }) == Outcome::cut)
		return Outcome::cut;
	if (!lost_third_ && check_counts() == Outcome::cut)
		return Outcome::cut;
	if (rng_.percent(30) && redundancy_comes_back() == Outcome::cut)
		return Outcome::cut;
	const Outcome outcome = as_process("close", [&] {
		check_drives();
		pav_engine *engine = std::exchange(engine_, nullptr);

		// That may wait for the superblock of a slow drive: for minutes.
		while (telling_)
			machine_->sleep_ns(50'000);
		unsettled = drives_come_and_go(engine);
		result = pav_engine_close(engine, &err);
	});

	if (outcome == Outcome::cut)
		return outcome;
	if (result && !lost_third_ && !(result == -ENOSPC && unsettled))
		fail("close fails with %d: %s", result, err.text);
	power_off("close");
	return Outcome::ok;
}

// Until @goal requests are completed. A full group that has lost two drives may be slow: then this ends early; as long as requests get their turn. Where
// more is written than should be in so few drives, nine tenths of what the collector finds in a segment may be alive, and some get theirs.
void World::users_work(const char *what, uint64_t goal)
{
	const uint64_t enough = machine_->now_ns() + patience_ns() / 2, deadline = machine_->now_ns() + patience_ns(), before = load_.completed();
	struct pav_group_info info {};

	if (run_until(what, [&] { return load_.completed() >= goal || machine_->now_ns() > enough || machine_->events_run() > events_limit / 4; }, deadline) == Outcome::cut ||
	    load_.completed() >= goal)
		return;
	if (as_process("look", [&] { pav_engine_info(engine_, &info); }) == Outcome::cut)
		return;
	const bool crowded = (info.failed || info.missing) && info.used_cells > info.capacity_cells / 8 * 7;

	run_until(what, [&] {
		return load_.completed() >= goal || (load_.completed() > before && (crowded || load_.oldest_request_ns() + patience_ns() / 4 > machine_->now_ns()));
	}, deadline);
	tally_["lives cut short"] += load_.completed() < goal;
}

void World::life(bool last)
{
	std::vector<unsigned int> absent;

	for (const unsigned int s : suspects_)
		if (plan_.absent && rng_.percent(40)) {
			absent.push_back(s);
			harmed_ = true;
			tally_["drives absent"]++;
		} else if (drives_[s]->gone() && rng_.percent(50)) {
			drives_[s]->plug();	// comes back with what it had
			tally_["drives come back stale"]++;
		}
	power_on(rng_.percent(50));
	if (!last && rng_.percent(plan_.cut_in_open_percent))
		cut_at_ = 1 + rng_.below(rng_.percent(50) ? 60 : 1500);

	Outcome outcome = open(absent);

	if (outcome == Outcome::refused) {
		power_off("a refused open");
		power_on(false);
		outcome = open(absent);
	}
	if (outcome == Outcome::ok)
		outcome = read_back();
	if (outcome == Outcome::ok)
		outcome = check_counts();
	if (outcome == Outcome::cut) {
		tally_["cuts in open and replay"]++;
		return cut();
	}
	cut_at_ = UINT64_MAX;
	if (as_process("first volume", [this] { load_.ensure_volume(); }) == Outcome::cut)
		return cut();
	if (plan_.returns && rng_.percent(30) && scrub() == Outcome::cut)
		return cut();
	arm_faults();
	if (plan_.newcomers)
		members_turn();
	load_.start_users();
	machine_->spawn("control", [this] { load_.control_fiber(); });

	const uint64_t goal = load_.completed() + 1 + rng_.skewed(plan_.requests_a_life);
	const bool orderly = last || rng_.percent(plan_.orderly_percent);

	users_work("the users' work", goal);
	if (plan_.hang && stall_limit_ns() && rng_.percent(40) && stall() == Outcome::cut)
		return cut();
	if (!orderly) {
		// Not right after a completion: that would be always the same kind of moment.
		cut_at_ = machine_->events_run() + rng_.below(200);
		run_until("the cut", [] { return false; });
		return cut();
	}
	if (plan_.returns && rng_.percent(60))
		make_whole();
	if (!last && rng_.percent(20))
		cut_at_ = machine_->events_run() + rng_.skewed(300);	// a cut in close
	if (close() == Outcome::cut) {
		tally_["cuts in close"]++;
		cut();
	}
}

// A drive goes, and so does the power, before much is said about it. Then the drive is back and two others are away. Either the group knows that the
// drive has missed something, and stays closed, or the drive has missed nothing that was acknowledged, and all is there.
void World::quick_loss()
{
	std::vector<unsigned int> all(drives_.size());

	for (unsigned int i = 0; i < all.size(); i++)
		all[i] = i;
	for (size_t i = all.size(); i > 1; i--)
		std::swap(all[i - 1], all[rng_.below(i)]);
	suspects_ = {all[0]};
	power_on(false);
	if (open({}) != Outcome::ok)
		fail("simulator: no open before the quick loss");
	as_process("first volume", [this] { load_.ensure_volume(); });
	load_.start_users();
	machine_->spawn("control", [this] { load_.control_fiber(); });
	const uint64_t goal = load_.completed() + rng_.below(60);

	run_until("work before a quick loss", [&] { return load_.completed() >= goal; });
	vanish(all[0]);
	cut_at_ = machine_->events_run() + rng_.skewed(rng_.percent(50) ? 60 : 3000);
	run_until("the cut", [] { return false; });
	cut();
	drives_[all[0]]->plug();
	tally_["quick losses"]++;

	power_on(false);
	if (open({all[1], all[2]}, true) == Outcome::ok) {
		suspects_ = {all[1], all[2]};
		tally_["quick losses survived without two others"]++;
	} else {
		power_off("a refused open");
		power_on(false);
		if (open({}) != Outcome::ok)
			fail("simulator: no open after the quick loss");
	}
	read_back();
	close();
}

// The group has lost two drives, and one more is pulled while users are at work.
void World::third_loss()
{
	std::vector<unsigned int> others;

	for (unsigned int i = 0; i < drives_.size(); i++)
		if (std::find(suspects_.begin(), suspects_.end(), i) == suspects_.end())
			others.push_back(i);
	const unsigned int third = rng_.pick(others);

	plan_.returns = false;
	power_on(false);
	for (const unsigned int s : suspects_)
		drives_[s]->plug();
	if (open({}) != Outcome::ok)
		fail("simulator: no open before the third loss");
	read_back();
	as_process("first volume", [this] { load_.ensure_volume(); });
	load_.start_users();
	machine_->spawn("control", [this] { load_.control_fiber(); });
	for (const unsigned int s : suspects_)
		machine_->after(rng_.skewed(1'000'000), [this, s] { vanish(s); });

	// Until the engine has seen that two are gone. A drive that nobody uses any more is not missed.
	const auto failed = [this] {
		struct pav_group_info info {};

		pav_engine_info(engine_, &info);
		return info.failed;
	};
	unsigned int n = 0;
	uint64_t look = 0;

	run_until("two drives' loss", [&] {
		if (n < 2 && machine_->events_run() > look) {
			look = machine_->events_run() + 500;
			machine_->spawn("look", [&] { n = failed(); });
		}
		return n >= 2;
	});
	const uint64_t goal = load_.completed() + rng_.below(50);

	users_work("work with two drives lost", goal);
	trace_.add(machine_->now_ns(), "third", third);
	lost_third_ = true;
	vanish(third);
	// A full group writes nothing, and may not notice; the host does.
	tell_later(third, 50'000'000);
	/*
	 * What was written since the first two went may have taken the place of all that lay on them, too: then the group has all its data on the others, says
	 * so by what is missing, and bears the third loss as any. Then no error is right, and it is what a group is that lost its last drive long ago.
	 */
	bool borne = false, asking = false;

	run_until("the group's faulting", [&] {
		if (!said_faulted_ && !borne && !asking && machine_->events_run() > look) {
			look = machine_->events_run() + 500;
			asking = true;
			machine_->spawn("look", [&] {
				struct pav_group_info info {};

				pav_engine_info(engine_, &info);
				borne = info.failed > 2 && info.state != PAV_GROUP_FAULTED && info.missing <= 2;
				asking = false;
			});
		}
		return !asking && (said_faulted_ || borne);
	});
	if (!said_faulted_) {
		lost_third_ = false;
		suspects_.push_back(third);
		harmed_ = true;
		tally_["third losses borne"]++;
		load_.stop_users();
		run_until("the last requests", [this] { return load_.quiet(); });
		read_back();
		close();
		over_ = true;
		return;
	}
	load_.stop_users();
	run_until("the last requests of a faulted group", [this] { return load_.quiet(); });
	as_process("look", [this] {
		struct pav_group_info info {};

		pav_engine_info(engine_, &info);
		if (info.state != PAV_GROUP_FAULTED)
			fail("a third drive is lost, and the group's state is %d", info.state);
	});
	close();
	// What failed stays undecided, as after a cut.
	load_.cut();
	tally_["third losses"]++;

	// With three drives away it stays closed; with the third one back nothing that was acknowledged is missing.
	power_on(false);
	lost_third_ = true;
	if (open({}) == Outcome::ok) {
		lost_third_ = false;
		suspects_.push_back(third);
		harmed_ = true;
		tally_["opened with three drives lost"]++;
		as_process("look", [&] { load_.opened(*machine_, engine_); });
		read_back();
		close();
		over_ = true;
		return;
	}
	power_off("a refused open");
	drives_[third]->plug();
	lost_third_ = false;
	power_on(false);
	if (open({}) != Outcome::ok)
		fail("the third drive is back, and the group stays closed");
	read_back();
	close();
}

// In the end every cell must be there with any two drives away: the check that all redundancy is what it should be.
void World::last_look()
{
	std::vector<unsigned int> away = harmed_ ? suspects_ : std::vector<unsigned int>{};

	while (away.size() < std::min<size_t>(2, drives_.size())) {
		const auto i = static_cast<unsigned int>(rng_.below(drives_.size()));

		if (std::find(away.begin(), away.end(), i) == away.end())
			away.push_back(i);
	}
	suspects_ = away;
	power_on(false);
	if (open(away) != Outcome::ok)
		fail("simulator: the last look was cut");
	read_back();
	close();
	tally_["verified without two drives"]++;
}

void World::run()
{
	power_on(rng_.percent(30));
	while (!create())
		power_on(false);
	for (unsigned int i = 0; i < plan_.incarnations; i++)
		life(i + 1 == plan_.incarnations);
	if (plan_.third_loss)
		third_loss();
	if (over_)
		return;
	if (plan_.quick_loss)
		quick_loss();
	for (auto &drive : drives_)
		drive->rates = {};
	power_on(false);
	if (open({}) != Outcome::ok)
		fail("simulator: the last open was cut");
	read_back();
	healed_for_good();
	close();
	if (plan_.drop_pair_at_end)
		last_look();
}

// All was read, and no fault strikes any more. What was bad has been healed: reading once more finds nothing, or little that there was no room to heal.
void World::healed_for_good()
{
	for (unsigned int times = 0; times < 5; times++) {
		const uint64_t before = tally_["cells healed"];

		read_back();
		if (tally_["cells healed"] == before)
			return;
		// Readers are answered before what was healed for them is written; on a slow drive it may be read again until then.
		as_process("heals land", [this] {
			const auto busy = [](const auto &drive) { return drive->commands_in_flight() != 0; };

			for (unsigned int looks = 0; looks < 1000 && std::any_of(drives_.begin(), drives_.end(), busy); looks++)
				machine_->sleep_ns(1'000'000);
		});
	}
	fail("cells are healed, and healed again");
}

void World::on_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text)
{
	auto &world = *static_cast<World *>(host);

	(void)volume;
	world.trace_.add_text(world.machine_->now_ns(), "event", std::to_string(type) + " slot " + std::to_string(slot) + ": " + (text ? text : ""));
	(void)value;
	if (type == PAV_EVENT_CHECKSUM_HEALED)
		world.tally_["cells healed"]++;
	if (type == PAV_EVENT_DRIVE_FAILED)
		world.tally_["drives found failed"]++;
	if (type == PAV_EVENT_DRIVE_FAILED && text && std::string_view(text).find("stalls") != std::string_view::npos)
		world.tally_["drives failed for stalling"]++;
	// Not if it had vanished before: then that is why it is out.
	if (type == PAV_EVENT_DRIVE_FAILED && text && std::string_view(text).find("administrator") != std::string_view::npos)
		world.taken_out_ = true;
	if ((type == PAV_EVENT_DATA_LOST || type == PAV_EVENT_GROUP_FAULTED) && !world.lost_third_)
		fail("%s, and no more than two drives are bad: %s", type == PAV_EVENT_DATA_LOST ? "data lost" : "the group is faulted", text ? text : "");
	if (type == PAV_EVENT_GROUP_FAULTED) {
		world.said_faulted_ = true;
		world.writes_forbidden_ = "the group is faulted";
	}
}

void World::add_to(Tally &tally) const
{
	const LoadStats &s = load_.stats();

	for (const auto &[name, n] : tally_)
		tally[name] += n;
	tally["seeds"]++;
	tally["power cuts"] += cuts_;
	tally["events"] += events_;
	tally["allocations refused"] += alloc_failures_;
	tally["requests: reads"] += s.reads;
	tally["requests: writes"] += s.writes;
	tally["requests: unmaps"] += s.unmaps;
	tally["requests: in flight at a cut"] += s.in_flight_at_cut;
	tally["requests: no space"] += s.no_space;
	tally["requests: failed after a third loss"] += s.io_errors;
	tally["requests: memory changed in flight"] += s.alternatives;
	tally["cells checked"] += s.cells_checked;
	tally["control operations"] += s.control;
	tally["control operations in doubt at a cut"] += s.in_doubt;
	tally["control operations: bad input refused"] += s.refused;
	for (const auto &drive : drives_) {
		const DriveStats &d = drive->stats();

		tally["drives: reads"] += d.reads;
		tally["drives: writes"] += d.writes;
		tally["drives: flushes"] += d.flushes;
		tally["drives: completed before submit returned"] += d.inline_completions;
		tally["drives: blocks kept at a cut"] += d.cut_kept;
		tally["drives: blocks dropped at a cut"] += d.cut_dropped;
		tally["drives: blocks shorn at a cut"] += d.cut_shorn;
		tally["faults: drives vanished"] += d.vanished;
		tally["faults: blocks rotten"] += d.rotten;
		tally["faults: blocks unreadable"] += d.bad_blocks;
		tally["faults: read errors"] += d.read_errors;
		tally["faults: write errors"] += d.write_errors;
		tally["faults: writes lost"] += d.lost_writes;
		tally["faults: writes misdirected"] += d.misdirected_writes;
		tally["faults: drives that hang"] += d.hangs;
		tally["faults: commands given up"] += d.timed_out;
	}
}

}  // namespace pav::sim
