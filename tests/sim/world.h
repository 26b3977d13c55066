// SPDX-License-Identifier: GPL-2.0
// One seed: drives, a group on them, and several lives of a machine that has it open, each ended by a power cut or in good order.
#pragma once

#include "host.h"
#include "load.h"
#include "plan.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace pav::sim {

// Named counts over all seeds.
using Tally = std::map<std::string, uint64_t>;

class World : private Expectations {
public:
	World(uint64_t seed, bool verbose) : World(Plan(seed), seed, verbose) {}
	World(Plan plan, uint64_t seed, bool verbose);
	~World() override = default;

	void run();	// ends the process by fail() if anything is wrong
	const Trace &trace() const { return trace_; }
	const Plan &plan() const { return plan_; }
	void add_to(Tally &tally) const;

protected:
	enum class Outcome { ok, cut, refused };
	virtual void after_event() {}	// the machine has run one event, and stands still

	bool no_space_is_legal() const override;
	bool drives_are_lost() const override { return harmed_ || lost_third_; }
	bool overwrites_may_be_refused() const override { return drives_are_lost() || reached("toy engine is full"); }
	bool checkpoints_may_be_refused() const override;
	bool any_error_is_legal() const override { return lost_third_; }

	// ---- lives ----
	void power_on(bool may_fail_allocations);
	void power_off(const char *how);	// orderly: checks that nothing is left
	void cut();
	uint64_t patience_ns() const;
	bool drives_come_and_go(pav_engine *engine) const;
	Outcome run_until(const char *what, const std::function<bool()> &done);
	Outcome run_until(const char *what, const std::function<bool()> &done, uint64_t deadline);
	Outcome as_process(const char *name, const std::function<void()> &body);
	bool create();
	Outcome open(const std::vector<unsigned int> &absent, bool may_refuse = false);
	Outcome read_back();
	Outcome check_counts();
	Outcome redundancy_comes_back();
	Outcome close();
	void users_work(const char *what, uint64_t goal);
	void life(bool last);
	void quick_loss();
	void third_loss();
	void last_look();
	void healed_for_good();

	// ---- drives (world_drives.cc) ----
	void arm_faults();
	void fault_turn();
	uint64_t stall_limit_ns() const;
	uint64_t hang_ns();
	void hang(unsigned int drive, uint64_t ns, bool reset);
	Outcome stall();
	void hiccup(uint64_t after_ns);
	void set_clock();
	void vanish(unsigned int drive);
	void tell_later(unsigned int drive, uint64_t mean_ns);
	void fail_by_hand();
	void bring_home();
	void make_whole();
	void change_members();
	void members_turn();
	static void on_release(void *host, struct pav_dev *dev);
	bool nothing_is_missing();
	Outcome scrub();
	void set_scrub(bool on);
	void scrub_goes_on();
	void new_suspects();
	void check_drives();	// none but the suspects may have been failed
	static void on_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text);

	Plan plan_;
	Rng rng_;
	Trace trace_;
	std::vector<std::unique_ptr<Drive>> drives_;
	std::vector<pav_dev> devs_;
	std::vector<unsigned int> suspects_;
	Load load_;
	std::unique_ptr<Machine> machine_;
	pav_host_ops ops_{};
	pav_engine *engine_ = nullptr;
	// By drive: was something written to it where segments lie, and how many superblocks since? A spare that takes over is written to at once, and is one still
	// if the power goes before the superblocks that say so are there: the first of them is when the second begins.
	std::vector<unsigned int> written_to_;
	static bool holds_data(unsigned int written_to) { return written_to > 2; }
	bool harmed_ = false;		// a suspect was: data on it may be bad
	bool lost_third_ = false;
	const char *writes_forbidden_ = nullptr;
	bool said_faulted_ = false;
	bool scrub_asked_ = false;
	uint64_t scrubs_before_ = 0;	// were done when it was
	bool over_ = false;		// nothing more is to be tried with this group
	bool ending_faults_ = false;	// no new ones for now
	std::set<unsigned int> out_by_hand_;	// drives that were told to be out while nothing was wrong with them
	bool taken_out_ = false;
	std::set<unsigned int> released_, touched_;	// drives: the engine has let go of; it has used, in this life
	bool changing_ = false;		// somebody changes the members
	static constexpr unsigned int nobody = ~0U;
	unsigned int asked_for_ = nobody;	// the drive that may come home is being looked at
	unsigned int being_added_ = nobody;	// somebody wipes it, to add it
	uint64_t stamps_rot_ns_ = 0;	// from when on an owner stamp may rot again
	uint64_t stalls_until_ns_ = 0;	// a suspect may be failed for it up to then
	unsigned int telling_ = 0;	// calls that tell the engine of a drive gone
	uint64_t cut_at_ = UINT64_MAX;	// the machine's event that will not happen
	uint64_t cuts_ = 0, lives_ = 0, events_ = 0, alloc_failures_ = 0;
	Tally tally_;
};

}  // namespace pav::sim
