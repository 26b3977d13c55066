// SPDX-License-Identifier: GPL-2.0
// Requests: who sends which, and whether the answer is right.
#include "load.h"

#include <algorithm>
#include <cstdlib>

namespace pav::sim {

namespace {

constexpr unsigned int chunk_cells = PAV_REQ_MAX_CELLS;
constexpr unsigned int verifiers = 8;	// reads in flight while everything is read back

}  // namespace

// ---- life ----

void Load::cut()
{
	const Time now = ++time_;

	for (auto &model : models_) {
		model->oracle.cut(now);
		stats_.in_flight_at_cut += model->in_flight;
		model->in_flight = 0;
		model->handle = nullptr;
		model->closing = false;
	}
	closed();
}

void Load::closed()
{
	free_requests_.clear();
	for (auto &r : requests_) {
		r->in_flight = false;
		free_requests_.push_back(r.get());
	}
	verify_.clear();
	in_flight_ = verify_in_flight_ = submitting_ = 0;
	refused_cells_ = 0;
	running_ = control_running_ = false;
	engine_ = nullptr;
	machine_ = nullptr;
}

uint64_t Load::oldest_request_ns() const
{
	uint64_t oldest = UINT64_MAX;

	for (const auto &r : requests_)
		if (r->in_flight)
			oldest = std::min(oldest, r->began_ns);
	return oldest;
}

// A cell that is being written is not moved. Where writes under way, that wait for room themselves, hold as many cells as half of the segments, there may be none that can be emptied.
bool Load::writes_hold_all() const
{
	uint64_t held = refused_cells_;

	for (const auto &r : requests_)
		held += r->in_flight && r->req.op == PAV_WRITE ? r->req.cells : 0;
	return held > plan_.drive_blocks / plan_.segment_blocks / 2;
}

std::vector<VolumeModel *> Load::living()
{
	std::vector<VolumeModel *> out;

	for (auto &model : models_)
		if (model->handle && !model->closing)
			out.push_back(model.get());
	return out;
}

VolumeModel *Load::some_volume()
{
	std::vector<VolumeModel *> all = living();

	return all.empty() ? nullptr : rng_.pick(all);
}

// ---- requests ----

Load::Request &Load::take(unsigned int cells)
{
	const auto fits = std::find_if(free_requests_.rbegin(), free_requests_.rend(), [cells](const Request *r) { return r->room >= cells; });

	if (fits != free_requests_.rend()) {
		Request *r = *fits;

		free_requests_.erase(std::next(fits).base());
		return *r;
	}
	auto r = std::make_unique<Request>();

	r->room = cells <= 1 ? 1 : cells <= 16 ? 16 : chunk_cells;
	r->memory = {static_cast<uint8_t *>(std::aligned_alloc(cell_bytes, r->room * cell_bytes)), std::free};
	r->cells = r->memory.get();
	r->crc.resize(r->room);
	r->load = this;
	requests_.push_back(std::move(r));
	return *requests_.back();
}

void Load::submit(Request &r, VolumeModel &v, pav_req_op op, uint64_t lba, unsigned int cells)
{
	r.volume = &v;
	r.scattered = rng_.percent(20);
	r.began = ++time_;
	r.began_ns = machine_->now_ns();
	r.serial = ++serial_;
	r.in_flight = true;
	r.req = pav_req{};
	r.req.vol = v.handle;
	r.req.lba = lba;
	r.req.cells = cells;
	r.req.op = op;
	r.req.done = request_done;
	r.req.env.sim = static_cast<UserMemory *>(&r);
	r.req.crc = op == PAV_READ ? r.crc.data() : nullptr;
	in_flight_++;
	v.in_flight++;
	if (op == PAV_READ) {
		std::memset(r.cells, 0x5a, cells * cell_bytes);
	} else {
		const bool zero = op == PAV_UNMAP;

		r.write = {lba, cells, next_version_++, 0, zero, r.began};
		if (!zero && r.user >= 0 && rng_.percent(plan_.unstable_percent)) {
			r.write.alternative = next_version_++;
			stats_.alternatives++;
		}
		for (unsigned int i = 0; !zero && i < cells; i++)
			stamp_cell({r.cells + i * cell_bytes, cell_bytes}, v.oracle.uid(), lba + i, r.write.version);
		v.oracle.write_begins(r.write);
		if (r.write.alternative)
			flip_later(r);
	}
	machine_->trace().add(machine_->now_ns(), op == PAV_READ ? "> read" : op == PAV_WRITE ? "> write" : "> unmap", v.oracle.uid(), lba, cells,
			      op == PAV_READ ? r.began : r.write.version);
	submitting_++;
	pav_submit(&r.req);
	submitting_--;
}

// The user changes his memory while it is being written: some cells become the alternative version.
void Load::flip_later(Request &r)
{
	machine_->after(rng_.skewed(plan_.latency.write), [this, &r, serial = r.serial] {
		if (!r.in_flight || r.serial != serial)
			return;
		for (unsigned int i = 0; i < r.write.cells; i++)
			if (rng_.percent(60))
				stamp_cell({r.cells + i * cell_bytes, cell_bytes}, r.volume->oracle.uid(), r.write.lba + i, r.write.alternative);
	});
}

void Load::request_done(pav_req *req)
{
	Request &r = *static_cast<Request *>(static_cast<UserMemory *>(req->env.sim));

	r.load->finish(r);
}

void Load::finish(Request &r)
{
	VolumeModel &v = *r.volume;
	const pav_req_op op = r.req.op;
	const int error = r.req.error;
	const Time now = ++time_;

	if (!r.in_flight)
		fail("a request of volume %lu completes twice", v.oracle.uid());
	r.in_flight = false;
	in_flight_--;
	v.in_flight--;
	completed_++;
	machine_->trace().add(machine_->now_ns(), error ? "< error" : "< done", v.oracle.uid(), r.req.lba, r.req.cells,
			      error ? static_cast<uint64_t>(-error) : op == PAV_READ ? r.began : r.write.version);
	// One after the other is refused: what they held together counts.
	if (op == PAV_WRITE)
		refused_cells_ = error == -ENOSPC ? refused_cells_ + r.req.cells : 0;
	if (error == -ENOSPC && op != PAV_READ) {
		stats_.no_space++;
		if (!expect_.no_space_is_legal())
			fail("volume %lu cell %lu+%u: no space, and the drives are far from full", v.oracle.uid(), static_cast<uint64_t>(r.req.lba), r.req.cells);
		// What is mapped can be written for ever, and unmapped, in a full group too; but see writes_hold_all().
		if (op == PAV_UNMAP ? !expect_.drives_are_lost() :
		    !expect_.overwrites_may_be_refused() && !writes_hold_all() && v.oracle.surely_mapped(r.req.lba, r.req.cells, r.began))
			fail("volume %lu cell %lu+%u: no space for %s", v.oracle.uid(), static_cast<uint64_t>(r.req.lba), r.req.cells,
			     op == PAV_UNMAP ? "an unmap" : "writing what is mapped already");
	} else if (error) {
		stats_.io_errors++;
		if (!expect_.any_error_is_legal())
			fail("volume %lu cell %lu+%u: %s fails with %d, and no more than two drives are bad", v.oracle.uid(), static_cast<uint64_t>(r.req.lba),
			     r.req.cells, op == PAV_READ ? "read" : op == PAV_WRITE ? "write" : "unmap", error);
	}
	if (op == PAV_READ) {
		stats_.reads++;
		for (unsigned int i = 0; i < r.req.cells && !error; i++) {
			const auto wrong = v.oracle.read_ends(r.req.lba + i, {r.cells + i * cell_bytes, cell_bytes}, r.began, now);

			stats_.cells_checked++;
			if (wrong)
				fail("%s (read of %lu+%u, begun at %lu)", wrong->c_str(), static_cast<uint64_t>(r.req.lba), r.req.cells, r.began);
		}
	} else {
		(op == PAV_WRITE ? stats_.writes : stats_.unmaps)++;
		v.oracle.write_ends(r.write, error == 0, now);
	}
	const int user = r.user;

	if (user == of_verify)
		verify_in_flight_--;
	// The engine still has the request in its hands until it returns from here; its memory must not be used again before.
	machine_->after(1, [this, &r] { free_requests_.push_back(&r); });
	if (user >= 0)
		user_later(user, error ? 50 : 1);
	else if (user == of_verify)
		machine_->after(1, [this] { verify_more(); });
}

// ---- users ----

void Load::start_users()
{
	running_ = true;
	sequential_.assign(plan_.users, 0);
	for (unsigned int u = 0; u < plan_.users; u++)
		user_later(static_cast<int>(u));
}

void Load::user_later(int user, unsigned int patience)
{
	machine_->after(patience * rng_.skewed(plan_.think_ns), [this, user] {
		if (running_ && rng_.percent(plan_.process_percent))
			machine_->spawn("user", [this, user] { user_turn(user); });
		else
			user_turn(user);
	});
}

void Load::user_turn(int user)
{
	if (!running_)
		return;
	VolumeModel *v = some_volume();

	if (!v || v->chunks.empty())
		return user_later(user);
	const uint64_t chunk = rng_.percent(plan_.hot_percent) ? v->chunks.front() : rng_.pick(v->chunks);
	const pav_req_op op = rng_.percent(plan_.write_percent) ? PAV_WRITE : rng_.percent(plan_.unmap_percent) ? PAV_UNMAP : PAV_READ;
	uint64_t offset;
	unsigned int cells;

	if (static_cast<unsigned int>(user) % 100 < plan_.sequential_percent * plan_.users / 100) {
		uint64_t &next = sequential_[static_cast<size_t>(user)];

		cells = static_cast<unsigned int>(rng_.range(8, 64));
		offset = next % chunk_cells;
		next = offset + cells;
	} else if (rng_.percent(plan_.large_percent)) {
		cells = static_cast<unsigned int>(rng_.range(1, chunk_cells));
		offset = rng_.below(chunk_cells);
	} else {
		cells = rng_.percent(70) ? 1 : static_cast<unsigned int>(rng_.range(1, 12));
		offset = rng_.percent(plan_.hot_percent) ? rng_.below(12) : rng_.below(chunk_cells);
	}
	cells = std::min<unsigned int>(cells, chunk_cells - static_cast<unsigned int>(offset));
	Request &r = take(cells);

	r.user = user;
	submit(r, *v, op, chunk * chunk_cells + offset, cells);
}

void Load::ask(size_t nth, pav_req_op op, uint64_t lba, unsigned int cells)
{
	const std::vector<VolumeModel *> all = living();
	Request &r = take(cells);

	r.user = of_script;
	submit(r, *all.at(nth % all.size()), op, lba, cells);
}

Load::Saved Load::save() const
{
	Saved out{{}, time_, next_version_, next_uid_, controls_done_};

	for (const auto &model : models_)
		out.models.push_back(*model);
	return out;
}

void Load::restore(const Saved &saved)
{
	models_.clear();
	for (const VolumeModel &model : saved.models)
		models_.push_back(std::make_unique<VolumeModel>(model));
	time_ = saved.time;
	next_version_ = saved.next_version;
	next_uid_ = saved.next_uid;
	controls_done_ = saved.controls_done;
	cut();
}

bool Load::check_counts(const std::function<bool()> &at_rest)
{
	char text[200];
	const std::vector<VolumeModel *> all = living();

	if (all.empty())
		return true;
	// What no room is left to let go of still counts, and nobody here knows where it lies.
	if (sim_deleting(all.front()->handle))
		return false;
	const uint64_t moved = sim_moved(all.front()->handle);

	live_.assign(sim_segments(all.front()->handle), 0);
	for (VolumeModel *v : all) {
		uint64_t mapped = 0;

		for (auto lba = v->oracle.next_touched(0); lba && *lba < v->record->cells; lba = v->oracle.next_touched(*lba + 1))
			mapped += sim_count_cell(v->handle, *lba, live_.data());
		if (sim_wrong_mapped(v->handle, mapped, text, sizeof text))
			fail("volume %lu: %s", v->oracle.uid(), text);
	}
	// What is being moved counts where it comes to lie before the map says so.
	if (sim_moved(all.front()->handle) != moved || !at_rest())
		return false;
	if (sim_wrong_live(all.front()->handle, live_.data(), text, sizeof text))
		fail("%s", text);
	return true;
}

void Load::check_rows(sim_peek peek)
{
	char text[300];

	for (VolumeModel *v : living())
		for (auto lba = v->oracle.next_touched(0); lba && *lba < v->record->cells; lba = v->oracle.next_touched(*lba + 1))
			if (sim_wrong_row(v->handle, *lba, peek, text, sizeof text))
				fail("volume %lu: %s", v->oracle.uid(), text);
}

// ---- reading everything back ----

void Load::start_verify()
{
	for (VolumeModel *v : living()) {
		auto lba = v->oracle.next_touched(0);

		while (lba) {
			const uint64_t chunk_end = (*lba / chunk_cells + 1) * chunk_cells;
			uint64_t end = *lba + 1;
			auto next = v->oracle.next_touched(end);

			// Neighbours in one read, as far as chance has it; small holes with them.
			while (next && *next < chunk_end && *next < end + 4 && rng_.percent(95)) {
				end = *next + 1;
				next = v->oracle.next_touched(end);
			}
			verify_.push_back({v, *lba, static_cast<unsigned int>(end - *lba)});
			lba = next;
		}
		for (const uint64_t chunk : v->chunks)
			if (rng_.percent(plan_.verify_holes_percent))
				verify_.push_back({v, chunk * chunk_cells, chunk_cells});
	}
	for (unsigned int i = 0; i < verifiers; i++)
		machine_->after(1 + i, [this] { verify_more(); });
}

void Load::verify_more()
{
	if (verify_.empty() || verify_in_flight_ >= verifiers)
		return;
	const Span span = verify_.front();

	verify_.pop_front();
	verify_in_flight_++;
	Request &r = take(span.cells);

	r.user = of_verify;
	submit(r, *span.volume, PAV_READ, span.lba, span.cells);
}

}  // namespace pav::sim
