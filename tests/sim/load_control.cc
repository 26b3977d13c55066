// SPDX-License-Identifier: GPL-2.0
// Control operations and the model of the volumes' metadata: an operation that returned is durable, one that a power cut met is done or not done.
#include "load.h"

#include <algorithm>

namespace pav::sim {

namespace {

constexpr uint64_t chunk_cells = PAV_REQ_MAX_CELLS;

template <size_t N> void fill_random(std::array<uint8_t, N> &out, Rng &rng)
{
	for (uint8_t &byte : out)
		byte = static_cast<uint8_t>(rng.next() >> 56);
}

std::string to_text(const std::optional<VolumeRecord> &r)
{
	if (!r)
		return "(none)";
	std::string out = r->name + " serial " + r->serial + " cells " + std::to_string(r->cells);

	for (const auto &[key, value] : r->props)
		out += " " + key + "=" + value;
	return out;
}

}  // namespace

void Load::choose_chunks(VolumeModel &v)
{
	const uint64_t last = v.record->cells / chunk_cells - 1;

	v.chunks = {rng_.below(last + 1), 0, last};
	v.chunks.resize(rng_.range(1, 3));
	for (unsigned int i = 0; i < plan_.spread + plan_.churn; i++)
		v.chunks.push_back(rng_.below(last + 1));
	std::sort(v.chunks.begin(), v.chunks.end());
	v.chunks.erase(std::unique(v.chunks.begin(), v.chunks.end()), v.chunks.end());
}

VolumeRecord Load::observed(pav_volume *handle)
{
	struct pav_volume_info info{};
	VolumeRecord out;

	pav_volume_info(handle, &info);
	out.name = info.ident.name;
	out.serial = info.ident.serial;
	out.cells = info.cells;
	pav_volume_props(
		engine_, handle,
		[](void *ctx, const char *key, const char *value) {
			auto &props = *static_cast<std::map<std::string, std::string> *>(ctx);

			if (!props.emplace(key, value).second)
				fail("property %s is there twice", key);
		},
		&out.props);
	return out;
}

void Load::opened(Machine &machine, pav_engine *engine)
{
	machine_ = &machine;
	engine_ = engine;
	for (auto &model : models_)
		model->handle = nullptr;
	for (unsigned int id = 0; id < PAV_MAX_VOLUMES; id++) {
		pav_volume *handle = pav_volume_by_id(engine, id);

		if (!handle)
			continue;
		struct pav_volume_info info{};

		pav_volume_info(handle, &info);
		if (info.id != id)
			fail("volume %u says its id is %u", id, info.id);
		const auto it = std::find_if(models_.begin(), models_.end(), [&](const auto &m) {
			return (m->record || m->in_doubt) && std::memcmp(m->uuid.data(), info.ident.uuid, 16) == 0;
		});

		if (it == models_.end())
			fail("volume %u (%s) is there, and was never created or was deleted", id, info.ident.name);
		VolumeModel &v = **it;
		const VolumeRecord is = observed(handle);

		if (v.handle)
			fail("volume %s is there twice", info.ident.name);
		if (std::memcmp(v.nguid.data(), info.ident.nguid, 16) != 0)
			fail("volume %s has another NGUID", info.ident.name);
		if (v.in_doubt && v.after == is)
			v.record = v.after;
		else if (v.record != is)
			fail("volume is: %s; was: %s%s%s", to_text(is).c_str(), to_text(v.record).c_str(), v.in_doubt ? ", or: " : "",
			     v.in_doubt ? to_text(v.after).c_str() : "");
		v.handle = handle;
	}
	for (auto &model : models_) {
		VolumeModel &v = *model;

		if (!v.handle) {
			if (v.record && !(v.in_doubt && !v.after))
				fail("volume %s is gone", v.record->name.c_str());
			v.record.reset();
		} else if (v.chunks.empty()) {
			choose_chunks(v);
		}
		stats_.in_doubt += v.in_doubt;
		v.in_doubt = false;
		v.after.reset();
	}
	std::erase_if(models_, [](const auto &m) { return !m->record; });
}

bool Load::judge(int result, const pav_err &err, const char *what, VolumeModel &v)
{
	machine_->trace().add_text(machine_->now_ns(), "control", std::string(what) + " of volume " + std::to_string(v.oracle.uid()) + " -> " + std::to_string(result));
	if (result == 0) {
		v.record = v.after;
		v.in_doubt = false;
		stats_.control++;
		controls_done_++;
		return true;
	}
	if (std::strlen(err.text) == 0)
		fail("%s fails with %d, and no word of why", what, result);
	if (result == -ENOMEM && host_options().alloc_failures > alloc_failures_before_)
		stats_.no_memory++;
	else if (result == -ENOSPC && expect_.no_space_is_legal())
		stats_.no_space++;
	else if (!expect_.any_error_is_legal())
		fail("%s fails with %d: %s", what, result, err.text);
	// Out of memory and of space: refused, as if never asked. After an I/O error nobody knows.
	if (result == -ENOMEM || result == -ENOSPC)
		v.in_doubt = false;
	return false;
}

void Load::do_create()
{
	models_.push_back(std::make_unique<VolumeModel>(next_uid_++));
	VolumeModel &v = *models_.back();
	// While its first writes come; half of those from one leaf of the map on, so that the tree becomes deeper.
	const bool grows = rng_.percent(20), from_a_leaf = grows && !plan_.churn && rng_.percent(50);
	const uint64_t mib = from_a_leaf ? 1 : plan_.churn ? plan_.churn : plan_.huge_volumes && rng_.percent(50) ? rng_.range(1, rng_.percent(20) ? 1ULL << 26 : 100'000) : rng_.range(plan_.spread + 1, plan_.spread * 2 + 8);
	pav_volume_ident ident{};
	pav_volume *handle = nullptr;
	pav_err err{};

	fill_random(v.uuid, rng_);
	fill_random(v.nguid, rng_);
	std::snprintf(ident.name, sizeof ident.name, "vol-%lu", v.oracle.uid());
	std::snprintf(ident.serial, sizeof ident.serial, "SN%08lx", rng_.next() & 0xffffffff);
	std::memcpy(ident.uuid, v.uuid.data(), 16);
	std::memcpy(ident.nguid, v.nguid.data(), 16);
	v.in_doubt = true;
	v.after = VolumeRecord{ident.name, ident.serial, mib * chunk_cells, {}};
	const int result = pav_volume_create(engine_, &ident, mib * chunk_cells, &handle, &err);

	if (!judge(result, err, "create", v)) {
		if (!v.in_doubt)
			std::erase_if(models_, [&v](const auto &m) { return m.get() == &v; });
		return;
	}
	if (!handle)
		fail("create returns no volume");
	if (observed(handle) != *v.record)
		fail("volume created is: %s; should be: %s", to_text(observed(handle)).c_str(), to_text(v.record).c_str());
	choose_chunks(v);
	v.handle = handle;
	if (grows)
		do_grow(v);
}

void Load::do_delete(VolumeModel &v)
{
	pav_err err{};

	v.closing = true;
	while (v.in_flight)
		machine_->sleep_ns(10'000);
	v.in_doubt = true;
	v.after.reset();
	if (judge(pav_volume_delete(engine_, v.handle, &err), err, "delete", v))
		std::erase_if(models_, [&v](const auto &m) { return m.get() == &v; });
	else
		v.closing = false;
}

void Load::do_grow(VolumeModel &v)
{
	VolumeRecord next = *v.record;
	pav_err err{};

	next.cells += chunk_cells * (plan_.huge_volumes ? rng_.range(1, 1 << 20) : rng_.range(1, 4));
	next.cells = std::min<uint64_t>(next.cells, PAV_VOLUME_MAX_BYTES / cell_bytes);
	if (next.cells == v.record->cells)
		return;
	v.in_doubt = true;
	v.after = next;
	if (judge(pav_volume_grow(engine_, v.handle, next.cells, &err), err, "grow", v) && v.chunks.size() < 4)
		v.chunks.push_back(v.record->cells / chunk_cells - 1);
}

void Load::do_change(VolumeModel &v)
{
	const unsigned int kind = rng_.below(4);
	VolumeRecord next = *v.record;
	pav_err err{};
	int result;

	if (kind == 0)
		return do_grow(v);
	v.in_doubt = true;
	switch (kind) {
	case 1:
		next.name = "vol-" + std::to_string(v.oracle.uid()) + "." + std::to_string(rng_.below(1000));
		v.after = next;
		result = pav_volume_rename(engine_, v.handle, next.name.c_str(), &err);
		judge(result, err, "rename", v);
		break;
	default: {
		const std::string key = "key" + std::to_string(rng_.below(4));
		const std::string value = rng_.percent(25) ? "" : std::string(1 + rng_.skewed(60) % 400, static_cast<char>('a' + rng_.below(26)));

		if (value.empty())
			next.props.erase(key);
		else
			next.props[key] = value;
		v.after = next;
		result = pav_volume_set_prop(engine_, v.handle, key.c_str(), value.empty() ? nullptr : value.c_str(), &err);
		// Removing what is not there may be refused: nothing changes either way.
		if (result == -ENOENT && next == *v.record) {
			v.in_doubt = false;
			return;
		}
		judge(result, err, "set property", v);
	}
	}
	if (!expect_.any_error_is_legal() && observed(v.handle) != *v.record)
		fail("volume is: %s; should be: %s", to_text(observed(v.handle)).c_str(), to_text(v.record).c_str());
}

// What must be refused, with a reason, and change nothing.
void Load::do_bad_input(VolumeModel &v)
{
	pav_volume_ident ident{};
	pav_volume *handle = nullptr;
	pav_err err{};
	const char *what = "";
	int result = 0;

	fill_random(reinterpret_cast<std::array<uint8_t, 16> &>(ident.uuid), rng_);
	fill_random(reinterpret_cast<std::array<uint8_t, 16> &>(ident.nguid), rng_);
	switch (rng_.below(6)) {
	case 0:
		what = "a second volume of the same name";
		std::snprintf(ident.name, sizeof ident.name, "%s", v.record->name.c_str());
		result = pav_volume_create(engine_, &ident, chunk_cells, &handle, &err);
		break;
	case 1:
		what = "a volume without a name";
		result = pav_volume_create(engine_, &ident, chunk_cells, &handle, &err);
		break;
	case 2:
		what = "a volume of no size";
		std::snprintf(ident.name, sizeof ident.name, "empty");
		result = pav_volume_create(engine_, &ident, 0, &handle, &err);
		break;
	case 3:
		what = "growing to less than now";
		result = v.record->cells > chunk_cells ? pav_volume_grow(engine_, v.handle, v.record->cells - chunk_cells, &err) : -EINVAL;
		if (!err.text[0])
			return;
		break;
	case 4:
		what = "a name with a slash";
		result = pav_volume_rename(engine_, v.handle, "a/b", &err);
		break;
	default:
		what = "a property that is too long";
		result = pav_volume_set_prop(engine_, v.handle, "long", std::string(PAV_PROP_VALUE_MAX + 1, 'x').c_str(), &err);
	}
	stats_.refused++;
	if (result == 0)
		fail("%s is accepted", what);
	if (!err.text[0])
		fail("%s is refused with %d, and no word of why", what, result);
}

void Load::do_checkpoint()
{
	const int result = pav_engine_checkpoint(engine_);

	machine_->trace().add(machine_->now_ns(), "checkpoint", static_cast<uint64_t>(-result));
	if (result && !expect_.any_error_is_legal() && !(result == -ENOSPC && expect_.checkpoints_may_be_refused()) &&
	    !(result == -ENOMEM && host_options().alloc_failures > alloc_failures_before_))
		fail("checkpoint fails with %d", result);
}

void Load::ensure_volume()
{
	control_running_ = true;
	alloc_failures_before_ = host_options().alloc_failures;
	if (living().empty())
		do_create();
	control_running_ = false;
}

void Load::control_turn()
{
	std::vector<VolumeModel *> all = living();
	const uint64_t dice = rng_.below(100);

	alloc_failures_before_ = host_options().alloc_failures;
	if (all.empty() || (dice < 20 && all.size() < plan_.max_volumes))
		do_create();
	else if (dice < 30 && all.size() > 1)
		do_delete(*rng_.pick(all));
	else if (dice < 65)
		do_change(*rng_.pick(all));
	else if (dice < 75)
		do_bad_input(*rng_.pick(all));
	else if (dice < 90)
		do_checkpoint();
	else if (control_extra)
		control_extra();
}

void Load::control(Control what)
{
	std::vector<VolumeModel *> all = living();

	control_running_ = true;
	alloc_failures_before_ = host_options().alloc_failures;
	if (what == Control::create)
		do_create();
	else if (what == Control::checkpoint)
		do_checkpoint();
	else if (!all.empty())
		what == Control::remove ? do_delete(*all.back()) : do_change(*all.front());
	control_running_ = false;
}

void Load::control_fiber()
{
	control_running_ = true;
	while (running_) {
		machine_->sleep_ns(1 + rng_.skewed(plan_.control_ns));
		if (running_)
			control_turn();
	}
	control_running_ = false;
}

}  // namespace pav::sim
