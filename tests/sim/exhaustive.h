// SPDX-License-Identifier: GPL-2.0
// The exhaustive mode: nothing of a power cut is left to chance.
//
// A small group runs a short script of writes, unmaps, checkpoints, changes of volumes, garbage collection. After every event that changes what is on
// the drives or what users have seen, the power may fail: a *point*. What is on the drives then is known but for the writes (and discards) that are not
// yet durable: each subset of these that may have got there is a *state*. In each state the group is opened and everything is checked that a seed's run
// checks after a cut. That is pass 1. In pass 2 the recovery itself is cut: at each of its points, in each of the states there.
//
// The events between two points need none: what is submitted or completed in the course of one event is, before that event has ended, a state of the
// point before or of the point after, with users who know less.
//
// Subsets are of blocks, where no more than `max_units` are not durable; else of writes; where there are more writes than that: none, one, all but one,
// all, and some by chance; such points are counted as sampled. States that are alike, block by block and in what users have seen, are checked once, in
// whichever process comes first; the recovery of alike states is alike, since its chance begins anew in each.
//
// A round is one script, of the kind Plan::Script says. Round 1 is fixed, the others are drawn.
//
// No round's states can all be checked in an hour, so rounds are taken in sets of one of each kind. The passes of a set share the time evenly, each goes through
// its round in *slices* that lie scattered over it, and a slice is done by one process.
#pragma once

#include "world.h"

#include <atomic>
#include <string>
#include <vector>

namespace pav::sim {

constexpr size_t max_units = 12;

// A set of numbers that processes share. Only grows.
class SharedSet {
public:
	SharedSet();
	bool claim(uint64_t key);	// true: it was not there, and is now. One process alone gets this answer

private:
	static constexpr size_t room = size_t{1} << 26;
	std::atomic<uint64_t> *slots_;
	std::atomic<uint64_t> *used_;
};

// What all processes count together, of one round.
struct RoundCounts {
	std::atomic<uint64_t> points, sampled_points, states, alike;			// pass 1
	std::atomic<uint64_t> recoveries, replay_points, replay_sampled, replay_states, replay_alike;	// pass 2
	std::atomic<uint64_t> without_two, without_two_others, lives_after, recoveries_without_two;
	std::atomic<uint64_t> taken[2], finished[2], spent_ms[2];	// by pass: slices begun, done, and what they took

	bool complete(unsigned int pass) const;
	// How many slices the pass has. Needs to know the points.
	uint64_t slices(unsigned int pass) const;
};

struct ExhaustiveShared {
	static constexpr size_t max_rounds = 1024, max_marks = 256;
	RoundCounts rounds[max_rounds];
	std::atomic<uint64_t> failures;
	std::atomic<bool> stop;
	std::atomic<uint64_t> marks[max_marks];	// rare branches reached in all states, in the order of marks()
	char state[256][1024];		// by job: the one it is at
};

// Which blocks or writes got there. As text: b or w, and a digit for each: 0 it did not, 1 it did, 2 half of its sectors did.
struct Subset {
	bool blocks;
	std::vector<uint8_t> kept;

	static Subset parse(const std::string &text);

	std::string text() const;
};

// One slice of a pass of a round.
class Exhaustive : public World {
public:
	struct Setting {
		uint64_t round = 1;
		unsigned int pass = 1;		// 0: nothing is checked; what points there are
		uint64_t slice = 0;
		unsigned int job = 0, part = 1, parts = 1, watchdog_s = 60;
		double deadline_s = 0;		// of the steady clock; 0: none
		bool verbose = false, keep_going = false;
		std::string only;		// this state alone, in this process
		SharedSet *seen = nullptr;
		ExhaustiveShared *shared = nullptr;
	};
	explicit Exhaustive(const Setting &setting);

	// True: through; false: stopped by the clock or by a failure.
	bool run_slice();
	uint64_t points() const { return number_; }

	// What a slice is: of pass 1 every 32nd point; of pass 2 every sixteenth point of one of the three recoveries that are cut of each point's. And of these,
	// those with few subsets; or, later, an eighth of the others' subsets.
	static constexpr uint64_t point_parts = 32, recoveries = 3, recovery_parts = 16, shares = 8;
	static uint64_t parts(unsigned int pass, uint64_t points) { return pass == 1 ? point_parts : points * recoveries * recovery_parts; }

private:
	struct Slice {
		uint64_t point, recovery, of_recovery, share;

		bool has(const std::vector<Subset> &all, size_t i) const;
	};
	Slice slice() const;	// the one of setting_
	bool ours_to_explore() const;
	[[noreturn]] void leave(int status) const;

	struct Unit {
		unsigned int drive;
		std::vector<std::pair<uint64_t, CellRef>> cells;
	};
	struct Point {
		std::vector<std::vector<CellRef>> durable;	// by drive
		std::vector<Unit> writes;
		Load::Saved users;
		uint64_t history;
		uint64_t hash;		// of the above, without writes
		std::vector<unsigned int> lost;	// drives that were lost on the way here, or which a recovery was without
		std::vector<unsigned int> written_to;
	};

	void after_event() override;
	bool something_new();
	Point look();
	void explore();
	void explore_here(const Point &point);
	void cut_replay(const Point &point, const Subset &subset);
	void check(const Point &point, const Subset &subset, std::vector<Point> *replay);
	std::vector<unsigned int> two_drives(const Point &point, uint64_t k) const;
	void prepare(const Point &point, const Subset &subset);
	void without_two_others(const Point &point, uint64_t k);
	static std::vector<Unit> units(const Point &point, bool blocks);
	std::vector<Subset> subsets(const Point &point, bool &sampled);
	// What is on the drives in this state where that is not what was durable.
	static std::map<std::pair<unsigned int, uint64_t>, CellRef> content(const Point &point, const Subset &subset);
	uint64_t key(const Point &point, const Subset &subset);
	uint64_t hash_of(unsigned int drive, uint64_t block, const CellRef &cell);
	bool time_is_up() const;
	bool ours(uint64_t key) const { return key % setting_.parts == setting_.part - 1; }
	RoundCounts &counts() { return setting_.shared->rounds[setting_.round]; }
	Plan::Script script_kind() const { return Plan::script_of(setting_.round); }

	// ---- the script ----
	void script();
	void first_steps();
	void drawn_steps();
	void fill();
	void fill_spread();
	void spread_steps();
	void lose(unsigned int drive);
	void write(uint64_t lba, unsigned int cells) { load_.ask(0, PAV_WRITE, lba, cells); }
	void unmap(uint64_t lba, unsigned int cells) { load_.ask(0, PAV_UNMAP, lba, cells); }
	void begin(Load::Control what);
	void settle();

	Setting setting_;
	Slice slice_{};
	bool watching_ = false;
	uint64_t number_ = 0;		// of the point
	uint64_t activity_ = 0, history_ = 0;
	unsigned int controls_ = 0;
	std::vector<unsigned int> lost_;	// by the script
	std::vector<Point> *replay_ = nullptr;	// where a recovery's points go: those that are to be cut at, the others are empty
	std::string at_;		// the state's name so far
	std::map<const Cell *, std::pair<CellRef, uint64_t>> hashes_;
	std::vector<std::string> wanted_;	// setting_.only, taken apart
	bool stopped_ = false;
};

// Runs rounds, from @first on, in @jobs processes for @minutes (0: one round). Prints what was done. Returns the exit status.
struct ExhaustiveOptions {
	uint64_t first_round = 1, rounds = 0;
	double minutes = 1;
	unsigned int jobs = 1, part = 1, parts = 1, watchdog_s = 60;
	bool keep_going = false, verbose = false;
	std::string state, program;
};
int run_exhaustive(const ExhaustiveOptions &options);

}  // namespace pav::sim
