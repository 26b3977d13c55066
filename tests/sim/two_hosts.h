// SPDX-License-Identifier: GPL-2.0
// One seed of another kind: two hosts, each with an engine of its own, at the same drives. They open and close the group, die, stand still, and take it
// from one another; who has it serves users all the while.
//
// What is judged, from outside:
//  - Of two hosts only one writes. Once a host has written anything but its stamp, nothing but stamps comes from the other until that opens the group anew.
//  - An open is refused while the other host lives, and says which host that is; it is not refused, nor does it watch, after a close or this host's own crash.
//  - A host whose group was taken says so, ends every request, and acknowledges nothing once the other has it open. One whose group was not taken fails nothing,
//    however long it stood still.
//  - The oracle: every read, by whichever host has the group, returns what may be read.
// The hosts' clocks begin anywhere and differ in rate by up to a tenth; a host that stands still finds its clock gone on.
#pragma once

#include "host.h"
#include "oracle.h"
#include "plan.h"
#include "world.h"

#include <memory>
#include <string>
#include <vector>

namespace pav::sim {

class TwoHosts {
public:
	TwoHosts(uint64_t seed, bool verbose);
	~TwoHosts();

	void run();	// ends the process by fail() if anything is wrong
	const Trace &trace() const { return trace_; }
	const Plan &plan() const { return plan_; }
	void add_to(Tally &tally) const;

private:
	struct Host;
	struct Request : UserMemory {
		pav_req req{};
		Host *host = nullptr;
		std::vector<uint32_t> crc;
		std::unique_ptr<uint8_t, void (*)(void *)> memory{nullptr, nullptr};
		VolumeOracle::Write write{};
		Time began = 0;
		bool in_flight = false;
		bool verify = false;
		bool orphan = false;	// the other host has the group: what this one says counts no more
	};
	struct Opening {
		bool done = true, takeover = false;
		int result = 0;
		pav_err err{};
		uint64_t began = 0, took = 0;	// by the host's clock
		uint64_t waits = 0;	// so long it says that it watches the other's stamp, or waits for it to stop
	};
	struct Host {
		TwoHosts *world = nullptr;
		unsigned int number = 0;
		std::string name;
		std::unique_ptr<Machine> machine;
		uint64_t born = 0;	// the world's time when the machine was switched on
		uint64_t rate = 1000;	// its clock's, per mille
		bool paused = false;
		uint64_t lives = 0;
		std::vector<pav_dev> devs;
		pav_engine *engine = nullptr;
		pav_volume *volume = nullptr;
		Opening opening;
		bool acting = false;	// has written more than stamps since it began to open the group
		bool banned = false;	// so has the other, later: nothing but stamps may come from here
		bool ousted = false;	// the other has opened the group since; it may not know yet
		bool lost = false, faulted = false;
		uint64_t stamps = 0;	// it began to write
		uint64_t writes = 0;	// of other cells
		uint64_t late = 0;
		bool users = false;
		unsigned int shift = 0;	// of users: those of an earlier one go home
		std::vector<std::unique_ptr<Request>> requests;
		unsigned int in_flight = 0;
		std::vector<std::pair<uint64_t, unsigned int>> verify;
	};

	Host &other(const Host &h) { return hosts_[1 - h.number]; }
	Host &running() { return Machine::current() == hosts_[0].machine.get() ? hosts_[0] : hosts_[1]; }
	uint64_t now() const { return now_; }
	static uint64_t local(const Host &h, uint64_t time);
	static uint64_t global(const Host &h, uint64_t time);

	void power_on(Host &h);
	void die(Host &h);
	void retire(Host &h);		// closes what it has, checks that nothing is left, switches it off
	void pause(Host &h);
	void resume(Host &h);
	void enter(Host &h);
	bool step();
	template <typename P> void run_until(const char *what, P done);
	void run_for(uint64_t ns);
	template <typename F> void as_process(Host &h, const char *name, F body);

	void begin_open(Host &h, bool takeover);
	void opened(Host &h);
	void finish_open(Host &h);
	void must_open(Host &h, bool takeover, const char *when);
	void must_be_refused(Host &h, const char *when);
	void must_have_lost(Host &h, const char *when);
	void must_not_have_waited(const Host &h, uint64_t most_ns, const char *when);
	void close(Host &h);
	void read_back(Host &h);
	uint64_t fence() const { return uint64_t{plan_.heartbeat_ms} * 1'000'000 * 8; }
	uint64_t watch() const { return fence() + fence() / 4 + fence() / 4; }

	void start_users(Host &h);
	void user_later(Host &h);
	void user_turn(Host &h, unsigned int shift);
	void submit(Host &h, pav_req_op op, uint64_t lba, unsigned int cells, bool verify);
	void finish(Request &r);
	void verify_more(Host &h);
	void amid_writes(Host &h);
	void on_log(const char *text);
	static void on_event(void *host, enum pav_event type, const char *volume, int slot, u64 value, const char *text);

	Host &one_round(Host &owner);	// something happens; returns who has the group then, at work
	Host &both_open(Host &a, Host &b);
	Host &stutter(Host &owner);
	void wipe_stamps(Host &owner);

	Plan plan_;
	Rng rng_;
	Trace trace_;
	std::vector<std::unique_ptr<Drive>> drives_;
	std::vector<unsigned int> absent_;	// numbers of drives that one of the hosts may not see
	Host hosts_[2];
	pav_host_ops ops_{};
	uint64_t now_ = 0;
	Time time_ = 1;
	VersionId next_version_ = 1;
	VolumeOracle oracle_{1};
	Tally tally_;
};

}  // namespace pav::sim
