// SPDX-License-Identifier: GPL-2.0
// The users of a group: requests in flight, control operations, and the model of what they may observe. Lives as long as the run; machines come and go.
#pragma once

#include "host.h"
#include "oracle.h"
#include "plan.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pav::sim {

// All that a volume's metadata says.
struct VolumeRecord {
	std::string name, serial;
	uint64_t cells = 0;
	std::map<std::string, std::string> props;

	bool operator==(const VolumeRecord &) const = default;
};

struct VolumeModel {
	explicit VolumeModel(uint64_t uid) : oracle(uid) {}

	VolumeOracle oracle;
	std::array<uint8_t, 16> uuid{}, nguid{};
	std::optional<VolumeRecord> record;	// nothing: it does not exist
	bool in_doubt = false;			// a control operation has begun: it is as above, or as below
	std::optional<VolumeRecord> after;
	std::vector<uint64_t> chunks;		// where users read and write: numbers of 256 cells
	pav_volume *handle = nullptr;		// while the group is open
	unsigned int in_flight = 0;
	bool closing = false;			// about to be deleted: no new requests
};

struct LoadStats {
	uint64_t reads = 0, writes = 0, unmaps = 0, cells_checked = 0, control = 0, refused = 0, no_space = 0, io_errors = 0, in_doubt = 0;
	uint64_t in_flight_at_cut = 0, alternatives = 0, no_memory = 0;
};

// What the world says about errors.
class Expectations {
public:
	virtual ~Expectations() = default;
	virtual bool no_space_is_legal() const = 0;	// for what needs more room than before
	virtual bool drives_are_lost() const = 0;	// then there may be no room for anything
	virtual bool overwrites_may_be_refused() const = 0;
	virtual bool checkpoints_may_be_refused() const = 0;
	virtual bool any_error_is_legal() const = 0;	// the group lost a third drive
};

class Load {
public:
	Load(const Plan &plan, Rng &rng, const Expectations &expect) : plan_(plan), rng_(rng), expect_(expect) {}

	// The group was opened: compares its volumes with the model. Process context.
	void opened(Machine &machine, pav_engine *engine);
	// Everything in flight is gone, and so is the machine.
	void cut();
	// The group was closed in good order.
	void closed();

	void start_users();
	void stop_users() { running_ = false; }
	void start_verify();		// reads back all that was ever touched
	bool quiet() const { return in_flight_ == 0 && submitting_ == 0 && verify_.empty() && !control_running_; }
	bool requests_are_done() const { return in_flight_ == 0 && submitting_ == 0; }
	uint64_t completed() const { return completed_; }
	uint64_t oldest_request_ns() const;	// when the oldest request in flight began; UINT64_MAX: none

	// Are the engine's counts of cells what its map says? No user may be at work. False: that cannot be said, the garbage collector has moved cells
	// meanwhile. Process context.
	bool check_counts(const std::function<bool()> &at_rest);
	// The same for rows on the drives: see sim_wrong_row().
	void check_rows(sim_peek peek);

	// ---- for a script, in place of users ----
	// One request for the @nth volume; done when quiet() says so.
	void ask(size_t nth, pav_req_op op, uint64_t lba, unsigned int cells);
	enum class Control { create, remove, change, checkpoint };
	void control(Control what);	// process context
	size_t volumes() { return living().size(); }

	// The model as it is, to come back to it: what users have seen, not what is in flight.
	struct Saved {
		std::vector<VolumeModel> models;
		Time time;
		VersionId next_version;
		uint64_t next_uid, controls_done;
	};
	Saved save() const;
	void restore(const Saved &saved);
	// A number for what users have seen and may expect: equal ones are equal, in one history.
	uint64_t history() const { return time_ + controls_done_ * 0x10001 + (control_running_ ? 0x100000001 : 0); }

	// Control operations until the users stop. Process context, its own fiber.
	void control_fiber();
	// A first volume, so that there is something to do. Process context.
	void ensure_volume();
	const LoadStats &stats() const { return stats_; }
	// Asked now and then by the control fiber; the world's own operations (failing a drive).
	std::function<void()> control_extra;

private:
	struct Request : UserMemory {
		pav_req req{};
		Load *load = nullptr;
		VolumeModel *volume = nullptr;
		std::vector<uint32_t> crc;
		std::unique_ptr<uint8_t, void (*)(void *)> memory{nullptr, nullptr};
		unsigned int room = 0;		// cells of memory
		VolumeOracle::Write write{};
		Time began = 0;
		uint64_t began_ns = 0, serial = 0;
		int user = of_verify;
		bool in_flight = false;
	};
	struct Span {
		VolumeModel *volume;
		uint64_t lba;
		unsigned int cells;
	};

	static constexpr int of_verify = -1, of_script = -2;	// in place of a user's number

	Request &take(unsigned int cells);
	void submit(Request &r, VolumeModel &v, pav_req_op op, uint64_t lba, unsigned int cells);
	static void request_done(pav_req *req);
	void finish(Request &r);
	bool writes_hold_all() const;
	void user_later(int user, unsigned int patience = 1);
	void user_turn(int user);
	void flip_later(Request &r);
	VolumeModel *some_volume();
	void verify_more();
	std::vector<VolumeModel *> living();

	void control_turn();
	void do_create();
	void do_delete(VolumeModel &v);
	void do_grow(VolumeModel &v);
	void do_change(VolumeModel &v);
	void do_bad_input(VolumeModel &v);
	void do_checkpoint();
	// What a control call answered: 0, or a legal error, or the run fails. True: done.
	bool judge(int result, const pav_err &err, const char *what, VolumeModel &v);
	VolumeRecord observed(pav_volume *handle);
	void choose_chunks(VolumeModel &v);

	const Plan &plan_;
	Rng &rng_;
	const Expectations &expect_;
	Machine *machine_ = nullptr;
	pav_engine *engine_ = nullptr;
	std::vector<std::unique_ptr<VolumeModel>> models_;
	std::vector<std::unique_ptr<Request>> requests_;
	std::vector<Request *> free_requests_;
	std::deque<Span> verify_;
	std::vector<uint32_t> live_;		// check_counts(): by segment
	std::vector<uint64_t> sequential_;	// by user: the next cell
	Time time_ = 1;
	VersionId next_version_ = 1;
	uint64_t next_uid_ = 1, controls_done_ = 0, completed_ = 0, serial_ = 0, alloc_failures_before_ = 0, refused_cells_ = 0;
	unsigned int in_flight_ = 0, verify_in_flight_ = 0;
	unsigned int submitting_ = 0;	// callers that have not come back from the engine yet, their requests done or not
	bool running_ = false, control_running_ = false;
	LoadStats stats_;
};

}  // namespace pav::sim
