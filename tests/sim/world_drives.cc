// SPDX-License-Identifier: GPL-2.0
// What happens to a world's drives: they fail, vanish, come back, join and leave while users are at work; and when all must be whole again.
#include "world.h"

#include <algorithm>

extern "C" {
#include "format/format.h"
}

namespace pav::sim {

// Now and then the wall clock is set, by years, and back; or the battery was empty, and it is 1970.
void World::set_clock()
{
	if (!plan_.clock_jumps)
		return;
	host_options().clock_is_off_s = rng_.percent(20) ? -1'700'000'000 : static_cast<int64_t>(rng_.below(400'000'000)) - 200'000'000;
	tally_["clock set"]++;
	machine_->after(rng_.skewed(50'000'000), [this] { set_clock(); });
}

// So long a drive may stall; 0: for ever, or for longer than users have patience.
uint64_t World::stall_limit_ns() const
{
	const uint64_t ns = uint64_t{plan_.stall_limit} * plan_.heartbeat_ms * 1'000'000;

	return ns <= 1'000'000'000 ? ns : 0;
}

uint64_t World::hang_ns()
{
	const uint64_t limit_ns = stall_limit_ns();

	return limit_ns && rng_.percent(10) ? limit_ns + rng_.skewed(limit_ns) : rng_.skewed(20'000'000);
}

void World::hang(unsigned int s, uint64_t ns, bool reset)
{
	trace_.add(machine_->now_ns(), "hang", s, ns, reset);
	harmed_ |= reset || plan_.stall_limit;
	// Its last round may be found not to be done a while after.
	stalls_until_ns_ = std::max(stalls_until_ns_, machine_->now_ns() + ns + uint64_t{3} * plan_.heartbeat_ms * 1'000'000);
	drives_[s]->hang(machine_->now_ns() + ns, reset);
}

// A drive hangs for longer than it may, while users are at work. If it is in use, and is the only one, it is failed for that.
World::Outcome World::stall()
{
	const unsigned int s = rng_.pick(suspects_);
	const uint64_t asked_after = (drives_.size() / 3 + 2) * plan_.heartbeat_ms * 1'000'000;

	// Where beats are long and drives many, users would do millions of requests until it is found.
	if (stall_limit_ns() + asked_after > 1'000'000'000)
		return Outcome::ok;
	const uint64_t until = machine_->now_ns() + stall_limit_ns() + asked_after + rng_.skewed(stall_limit_ns());

	hang(s, until - machine_->now_ns(), rng_.percent(30));
	tally_["faults: drives that stall"]++;
	// Users who do not come to wait for it need not be looked at for so long.
	const uint64_t enough = load_.completed() + plan_.requests_a_life + 50 * plan_.users;

	return run_until("a drive stalls", [&] { return machine_->now_ns() >= until || load_.completed() >= enough; });
}

// Something all drives depend on stops, and goes on: nothing is wrong with any of them.
void World::hiccup(uint64_t after_ns)
{
	machine_->after(after_ns, [this] {
		const uint64_t ns = hang_ns();

		if (!ending_faults_ && !lost_third_) {
			trace_.add(machine_->now_ns(), "hiccup", ns);
			for (auto &drive : drives_)
				if (!drive->hangs())
					drive->hang(machine_->now_ns() + ns, false);
			tally_["faults: all drives hang"]++;
		}
		hiccup(ns + rng_.skewed(20'000'000 + 4 * ns));
	});
}

void World::arm_faults()
{
	if (plan_.hiccups)
		hiccup(rng_.skewed(20'000'000));
	if (suspects_.empty())
		return;
	for (const unsigned int s : suspects_) {
		drives_[s]->rates = plan_.rates;
		harmed_ |= plan_.rates.write_error || plan_.rates.lost_write || plan_.rates.misdirected_write;
		harmed_ |= plan_.suspects_slower > 1 && plan_.stall_limit;
		drives_[s]->latency.read = plan_.latency.read * plan_.suspects_slower;
		drives_[s]->latency.write = plan_.latency.write * plan_.suspects_slower;
	}
	machine_->after(rng_.skewed(2'000'000), [this] { fault_turn(); });
}

void World::fault_turn()
{
	const unsigned int s = rng_.pick(suspects_);
	Drive &drive = *drives_[s];

	if (ending_faults_) {
		machine_->after(rng_.skewed(2'000'000), [this] { fault_turn(); });
		return;
	}
	if (plan_.vanish && rng_.percent(15)) {
		vanish(s);
	} else if (plan_.hang && !drive.gone() && !drive.hangs() && rng_.percent(10)) {
		const bool reset = rng_.percent(50);

		hang(s, hang_ns(), reset);
	} else if (!drive.gone() && (plan_.rot || plan_.bad_blocks)) {
		for (uint64_t n = 1 + rng_.skewed(3); n; n--) {
			const uint64_t block = drive.written_below(drive.blocks(), rng_);

			if (block >= drive.blocks())
				continue;
			// Time runs fast here. Were both suspects' stamps bad before every beat, nobody could tell whose the group is, and rightly so all would wait.
			if (block == PAV_OWNER_CELL) {
				if (machine_->now_ns() < stamps_rot_ns_)
					continue;
				stamps_rot_ns_ = machine_->now_ns() + 4'000'000ULL * plan_.heartbeat_ms;
			}
			harmed_ = true;
			if (plan_.rot && (!plan_.bad_blocks || rng_.percent(60)))
				drive.rot(block, rng_);
			else
				drive.make_unreadable(block);
			trace_.add(machine_->now_ns(), "bad block", s, block);
		}
	}
	machine_->after(rng_.skewed(2'000'000), [this] { fault_turn(); });
}

void World::vanish(unsigned int s)
{
	if (drives_[s]->gone())
		return;
	harmed_ = true;
	trace_.add(machine_->now_ns(), "vanish", s);
	drives_[s]->vanish(rng_);
	if (rng_.percent(50))
		tell_later(s, 100'000);
}

// The host has seen that a drive is gone, and tells the engine, if that is still there by then.
void World::tell_later(unsigned int s, uint64_t mean_ns)
{
	machine_->after(rng_.skewed(mean_ns), [this, s] {
		if (!engine_ || !drives_[s]->gone())
			return;
		telling_++;	// the engine must not be closed meanwhile
		pav_engine_drive_gone(engine_, &devs_[s]);
		telling_--;
	});
}

// A drive that had vanished is plugged in again, and the host offers it to the group. Process context.
void World::bring_home()
{
	if (!plan_.returns || suspects_.empty())
		return;
	const unsigned int s = rng_.pick(suspects_);
	pav_err err{};

	if (!drives_[s]->gone() || s == being_added_)
		return;
	drives_[s]->plug();
	// It has left for good, and nobody would ask.
	if (released_.count(s))
		return;
	const uint64_t failures = host_options().alloc_failures;

	asked_for_ = s;
	const int result = pav_engine_return(engine_, &devs_[s], &err);

	asked_for_ = nobody;

	trace_.add(machine_->now_ns(), "return", s, static_cast<uint64_t>(-result));
	if (result && !err.text[0])
		fail("the return of d%u is refused with %d, and no word of why", s, result);
	if (result == 0 && out_by_hand_.count(s))
		fail("d%u was taken out of use, and comes home by itself", s);
	if (result == 0)
		tally_["drives brought home"]++;
	else if (result == -ENOMEM && host_options().alloc_failures == failures)
		fail("the return of d%u fails for want of memory that is there", s);
}

// All faults end, drives come home; if then the group says that nothing is missing, any two others may be lost: they are the suspects from now on.
void World::make_whole()
{
	for (const unsigned int s : suspects_)
		drives_[s]->rates = {};
	ending_faults_ = true;
	bool whole = false, asking = false;
	unsigned int looks = 0;

	run_until("becoming whole", [&] {
		if (!asking && !whole && looks < 200) {
			asking = true;
			machine_->spawn("look", [&] {
				bring_home();
				machine_->sleep_ns(200'000);
				whole = nothing_is_missing();
				looks++;
				asking = false;
			});
		}
		return !asking && (whole || looks >= 200);
	});
	ending_faults_ = false;
	if (!whole) {
		tally_["not whole again"]++;
		return;
	}
	tally_["whole again"]++;
	// What is rotten on a drive is not known before it is read.
	if (!plan_.secret_harm())
		new_suspects();
}

namespace {

// Members that work, and stay.
unsigned int working(pav_engine *engine)
{
	unsigned int n = 0;

	for (unsigned int slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		struct pav_drive_info info {};

		n += !pav_engine_drive_info(engine, slot, &info) && info.state == PAV_DRIVE_ACTIVE;
	}
	return n;
}

// Does the group do without a drive, or is one being rebuilt? @info: what it says of itself.
bool lacks_drives(pav_engine *engine, pav_group_info &info)
{
	struct pav_task_info rebuild {}, scrub {};

	pav_engine_info(engine, &info);
	pav_engine_tasks(engine, &rebuild, &scrub);
	return info.failed || info.missing || rebuild.running;
}

}  // namespace

// Nobody is at work, and nothing fails any more. Then what lacks drives is rebuilt, or written anew to those that are left, if there is room: not only when users write.
World::Outcome World::redundancy_comes_back()
{
	struct pav_group_info info {};
	bool can = false;

	if (lost_third_ || plan_.secret_harm() || pav_evacuate_delay)
		return Outcome::ok;
	for (const unsigned int s : suspects_)
		drives_[s]->rates = {};
	ending_faults_ = true;
	const Outcome outcome = as_process("redundancy comes back", [&] {
		const uint64_t enough = machine_->now_ns() + patience_ns() / 2;

		for (;;) {
			pav_engine_info(engine_, &info);
			can = info.state != PAV_GROUP_FAULTED && working(engine_) >= 4 && info.used_cells < info.capacity_cells / 8 * 7;
			if (!info.missing || info.state == PAV_GROUP_FAULTED || machine_->now_ns() > enough)
				return;
			machine_->sleep_ns(50'000'000);
		}
	});

	ending_faults_ = false;
	if (outcome == Outcome::ok) {
		tally_[info.missing ? "redundancy not back" : "redundancy back"]++;
		if (info.missing && can)
			fail("some of it lacks %u drives and stays so, and %llu of %llu cells are free", info.missing, info.free_cells, info.capacity_cells);
	}
	return outcome;
}

// Does the group say that it could bear the loss of any two drives, even after a cut? And is nothing about to fail that it does not know of yet?
bool World::nothing_is_missing()
{
	struct pav_group_info info {};

	const uint64_t commit_ns = 16 * plan_.latency.write * plan_.latency.superblocks;

	if (std::any_of(suspects_.begin(), suspects_.end(), [&](unsigned int s) { return drives_[s]->gives_up() || drives_[s]->has_failed(commit_ns); }))
		return false;
	if (plan_.stall_limit && machine_->now_ns() < stalls_until_ns_)
		return false;
	// An owner stamp that cannot be read is written anew when its drive's turn comes, which may take seconds after a drive came home.
	if (std::any_of(drives_.begin(), drives_.end(), [](const auto &drive) { return drive->unreadable(PAV_OWNER_CELL); }))
		return false;
	return !lacks_drives(engine_, info) && info.state != PAV_GROUP_FAULTED && !telling_;
}

// May there be less room than a moment ago? Where drives are missing, or members may leave at any time.
bool World::drives_come_and_go(pav_engine *engine) const
{
	struct pav_group_info info {};

	return lacks_drives(engine, info) || plan_.newcomers;
}

void World::new_suspects()
{
	const auto all = static_cast<unsigned int>(drives_.size());
	const auto first = static_cast<unsigned int>(rng_.below(all));

	for (const unsigned int s : suspects_) {
		drives_[s]->plug();
		drives_[s]->rates = {};
	}
	suspects_ = {first, static_cast<unsigned int>((first + 1 + rng_.below(all - 1)) % all)};
	harmed_ = false;
	trace_.add(machine_->now_ns(), "new suspects", suspects_[0], suspects_[1]);
	tally_["others can be lost after a rebuild"]++;
}

// Before the users come: everything is read and what is wrong is healed. If that says that nothing is missing, others may be lost from now on.
World::Outcome World::scrub()
{
	struct pav_task_info info {}, rebuild {};
	unsigned int looks = 0;

	return as_process("scrub", [&] {
		for (const unsigned int s : suspects_)
			drives_[s]->rates = {};
		for (unsigned int i = 0; i < 8; i++)
			bring_home();
		// One that a power cut interrupted goes on where it was: what has rotted behind it since then it would not meet.
		set_scrub(false);
		do {
			machine_->sleep_ns(500'000);
			pav_engine_tasks(engine_, &rebuild, &info);
		} while (info.running);
		set_scrub(true);
		do {
			machine_->sleep_ns(500'000);
			pav_engine_tasks(engine_, &rebuild, &info);
		} while ((info.running || info.finished < info.started || !info.started || rebuild.running) && ++looks < 2000);
		if (looks == 2000 || !nothing_is_missing())
			return;
		if (info.lost)
			fail("%llu stripes are beyond repair, and no more than two drives are bad", info.lost);
		tally_["scrubs"]++;
		tally_["cells healed by scrubs"] += info.healed;
		new_suspects();
	});
}

// Asks for a scrub, or for its end. Process context.
void World::set_scrub(bool on)
{
	pav_err err{};

	scrub_asked_ = false;
	scrubs_before_ = reached("scrub done");		// it may be done before it is on record
	const int result = pav_engine_scrub(engine_, on, &err);

	if (result && !lost_third_)
		fail("%s a scrub is refused: %s", on ? "asking for" : "stopping", err.text);
	scrub_asked_ = on && result == 0;
}

// Whoever was told that a scrub is under way can count on it, whatever happens to the power.
void World::scrub_goes_on()
{
	struct pav_task_info info {}, rebuild {};

	pav_engine_tasks(engine_, &rebuild, &info);
	if (scrub_asked_ && !info.running && reached("scrub done") == scrubs_before_)
		fail("a scrub was asked for, a power cut met it, and it does not go on");
}

// Somebody adds a drive that is in no group, as a member or a spare; or takes one out, for good, or with a spare in its place. Process context.
void World::change_members()
{
	pav_engine *const engine = engine_;

	if (!engine || lost_third_ || ending_faults_)
		return;
	std::set<unsigned int> members;
	std::vector<unsigned int> slots, free;

	for (unsigned int slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		struct pav_drive_info info {};

		if (pav_engine_drive_info(engine, slot, &info))
			continue;
		slots.push_back(slot);
		if (info.dev)
			members.insert(static_cast<unsigned int>(info.dev - devs_.data()));
	}
	// Not one that the engine may still be at, or that somebody else has open: whoever has a drive open has it alone.
	for (unsigned int i = 0; i < drives_.size(); i++)
		if (!members.count(i) && i != asked_for_ && !drives_[i]->gone() && (released_.count(i) || !touched_.count(i)) && !drives_[i]->commands_in_flight())
			free.push_back(i);
	pav_err err{};
	int result = 0;
	const uint64_t failures = host_options().alloc_failures;

	if (!free.empty() && rng_.percent(50)) {
		const unsigned int i = rng_.pick(free);
		pav_drive_arg arg{&devs_[i], rng_.percent(50)};

		// What was a member once says so, and is refused until somebody wipes it.
		being_added_ = i;
		if (rng_.percent(70) && pav_engine_wipe(&arg, 1, &err)) {
			being_added_ = nobody;
			return;
		}
		out_by_hand_.erase(i);
		written_to_[i] = 0;
		released_.erase(i);
		result = pav_engine_add(engine, &arg, 1, &err);
		being_added_ = nobody;
		trace_.add(machine_->now_ns(), "add", i, arg.spare, static_cast<uint64_t>(-result));
		tally_[result ? "drives refused that would join" : arg.spare ? "spares added" : "drives added"]++;
	} else {
		const unsigned int slot = rng_.pick(slots);

		if (rng_.percent(50)) {
			struct pav_drive_info info {};

			pav_engine_drive_info(engine, slot, &info);
			// Until its place is taken and rebuilt the group is without it.
			harmed_ = true;
			if (!info.dev || std::find(suspects_.begin(), suspects_.end(), static_cast<unsigned int>(info.dev - devs_.data())) == suspects_.end())
				return;
			result = pav_engine_replace(engine, slot, info.dev, -1, &err);
			trace_.add(machine_->now_ns(), "replace", slot, static_cast<uint64_t>(-result));
			tally_[result ? "drives not replaced" : "drives replaced"]++;
		} else {
			result = pav_engine_remove(engine, slot, &err);
			trace_.add(machine_->now_ns(), "remove", slot, static_cast<uint64_t>(-result));
			tally_[result ? "drives not let go" : "drives told to leave"]++;
		}
	}
	if (result && !err.text[0])
		fail("a change of members is refused with %d, and no word of why", result);
	if (result == -ENOMEM && host_options().alloc_failures == failures)
		fail("a change of members fails for want of memory that is there: %s", err.text);
}

void World::members_turn()
{
	machine_->after(rng_.skewed(5'000'000), [this] {
		machine_->spawn("members", [this] {
			if (changing_)
				return;
			telling_++;	// the engine must not be closed meanwhile
			changing_ = true;
			change_members();
			changing_ = false;
			telling_--;
		});
		members_turn();
	});
}

void World::on_release(void *host, struct pav_dev *dev)
{
	auto &world = *static_cast<World *>(host);
	const auto i = static_cast<unsigned int>(dev - world.devs_.data());

	world.trace_.add(world.machine_->now_ns(), "release", i);
	world.released_.insert(i);
	world.tally_["drives that left"]++;
}

void World::fail_by_hand()
{
	if (suspects_.empty() || !rng_.percent(20) || lost_third_ || ending_faults_)
		return;
	const unsigned int s = rng_.pick(suspects_);

	for (unsigned int slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		struct pav_drive_info info {};
		pav_err err{};

		if (pav_engine_drive_info(engine_, slot, &info) || info.dev != &devs_[s])
			continue;
		harmed_ = true;
		taken_out_ = false;
		const int result = pav_engine_fail_drive(engine_, slot, &err);

		trace_.add(machine_->now_ns(), "fail", s, static_cast<uint64_t>(-result));
		if (result && !err.text[0])
			fail("failing d%u is refused with %d, and no word of why", s, result);
		if (result == 0 && taken_out_)
			out_by_hand_.insert(s);
		if (result == 0)
			tally_["drives failed by hand"]++;
	}
}

void World::check_drives()
{
	if (lost_third_)
		return;
	for (unsigned int slot = 0; slot < PAV_MAX_DRIVES; slot++) {
		struct pav_drive_info info {};
		const auto written_to = written_to_;	// a spare may take over while we ask

		if (pav_engine_drive_info(engine_, slot, &info) || !info.dev)
			continue;
		const auto i = static_cast<unsigned int>(info.dev - devs_.data());

		if (info.state == PAV_DRIVE_SPARE && holds_data(written_to[i]))
			fail("d%u holds data, and is called a spare", i);
		if (info.state != PAV_DRIVE_FAILED)
			continue;
		if (std::find(suspects_.begin(), suspects_.end(), i) == suspects_.end())
			fail("d%u is failed, and nothing was wrong with it", i);
	}
}

}  // namespace pav::sim
