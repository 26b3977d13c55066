// SPDX-License-Identifier: GPL-2.0
// Drives that stop answering, or answer when it is too late: which of them is failed, and what users notice.
#include "scenario.h"

#include <memory>
#include <string>
#include <vector>

namespace pav::sim {
namespace {

constexpr uint64_t for_ever = 1'000'000'000'000'000;
constexpr unsigned int users = 8;
constexpr uint64_t volume_cells = 4096;

// A group of 4+2 and a spare, with beats of a second, and users who read and write at random.
class Stall : public Scenario {
protected:
	Stall() : Scenario(7, 200, 64, false) {}

	// @spare: the last drive is one; or it is not there.
	void begin(bool spare)
	{
		create(4, 6U + spare, spare, volume_cells);
		ASSERT_TRUE(volume_);
		for (unsigned int i = 0; i < users; i++) {
			users_.push_back(std::make_unique<Request>(*this));
			go_on(*users_.back());
		}
		run_for(5 * second);
	}

	~Stall() override
	{
		for (auto &drive : drives_)
			drive->latency.unheard = 0;
		stop_ = true;
		run_until([this] { return in_flight_ == 0; });
		close();
	}

	struct Request : UserMemory {
		explicit Request(Stall &t) : UserMemory{}, test(t), memory(static_cast<uint8_t *>(std::aligned_alloc(cell_bytes, cell_bytes)), std::free)
		{
			std::memset(memory.get(), 0x5a, cell_bytes);
			cells = memory.get();
		}
		Stall &test;
		std::unique_ptr<uint8_t, void (*)(void *)> memory;
		pav_req req{};
		u32 crc = 0;
		uint64_t began_ns = 0;
	};
	void go_on(Request &r)
	{
		if (stop_)
			return;
		in_flight_++;
		machine_->after(10 * ms, [this, &r] {
			r.req = pav_req{};
			r.req.vol = volume_;
			r.req.op = rng_.percent(50) ? PAV_WRITE : PAV_READ;
			r.req.lba = rng_.below(volume_cells);
			r.req.cells = 1;
			r.req.crc = &r.crc;
			r.req.env.sim = static_cast<UserMemory *>(&r);
			r.req.done = [](pav_req *req) {
				Request &done = *static_cast<Request *>(static_cast<UserMemory *>(req->env.sim));
				Stall &test = done.test;
				const uint64_t took = test.machine_->now_ns() - done.began_ns;

				EXPECT_EQ(req->error, 0);
				test.in_flight_--;
				if (done.began_ns >= test.since_) {
					test.completed_++;
					test.worst_ns_ = std::max(test.worst_ns_, took);
				}
				test.go_on(done);
			};
			r.began_ns = machine_->now_ns();
			pav_submit(&r.req);
		});
	}
	// What users notice of the next @ns.
	void expect_fast(uint64_t ns)
	{
		since_ = machine_->now_ns();
		worst_ns_ = completed_ = 0;
		run_for(ns);
		EXPECT_GT(completed_, 100U * ns / second);
		EXPECT_LT(worst_ns_, 100 * ms);
	}

	std::vector<std::unique_ptr<Request>> users_;
	bool stop_ = false;
	uint64_t in_flight_ = 0, completed_ = 0, worst_ns_ = 0, since_ = for_ever;
};

// An NVMe drive that has lost its interrupts: the host times out, looks, and finds the command done; each time.
TEST_F(Stall, ADriveThatNeedsHalfAMinuteForEachCommandIsFailed)
{
	begin(false);
	const uint64_t began = machine_->now_ns();

	drives_[2]->latency.unheard = 30 * second;
	run_for(15 * second);
	ASSERT_EQ(failed_.size(), 1U);
	EXPECT_EQ(failed_[0].slot, 2U);
	EXPECT_GT(failed_[0].ns - began, 8 * second);
	EXPECT_NE(failed_[0].text.find("10 s"), std::string::npos) << failed_[0].text;
	// What was under way comes back by and by; from then on nobody uses it.
	run_for(30 * second);
	expect_fast(60 * second);
	EXPECT_EQ(failed_.size(), 1U);
}

TEST_F(Stall, ADriveThatDoesNotAnswerIsFailedAndItsSpareTakesOver)
{
	begin(true);
	drives_[0]->hang(machine_->now_ns() + 60 * second, false);
	run_for(15 * second);
	ASSERT_EQ(failed_.size(), 1U);
	EXPECT_EQ(failed_[0].slot, 0U);
	run_for(60 * second);
	EXPECT_EQ(state(0), PAV_DRIVE_ACTIVE);
	EXPECT_EQ(state(6), PAV_DRIVE_EMPTY);
	expect_fast(60 * second);
	EXPECT_EQ(failed_.size(), 1U);
}

// Nobody's fault: the fabric, the controller, the host.
TEST_F(Stall, WhenAllDrivesStallNoneIsFailed)
{
	begin(true);
	for (auto &drive : drives_)
		drive->hang(machine_->now_ns() + 30 * second, false);
	run_for(60 * second);
	EXPECT_TRUE(failed_.empty());
	expect_fast(10 * second);

	for (auto &drive : drives_)
		drive->latency.unheard = 30 * second;
	run_for(120 * second);
	for (auto &drive : drives_)
		drive->latency.unheard = 0;
	run_for(60 * second);
	EXPECT_TRUE(failed_.empty());
	expect_fast(10 * second);
}

TEST_F(Stall, WhenTwoStallNoneIsFailed)
{
	begin(true);
	drives_[1]->hang(machine_->now_ns() + 30 * second, false);
	drives_[4]->hang(machine_->now_ns() + 30 * second, false);
	run_for(60 * second);
	EXPECT_TRUE(failed_.empty());
	expect_fast(10 * second);
}

// They come back one after the other: the last is given the whole time from when it is the only one.
TEST_F(Stall, TheLastToComeBackIsNotBlamedForWhatHeldAll)
{
	begin(true);
	for (unsigned int i = 0; i < 7; i++)
		drives_[i]->hang(machine_->now_ns() + (i == 3 ? 36 : 30) * second, false);
	run_for(60 * second);
	EXPECT_TRUE(failed_.empty());
}

TEST_F(Stall, AShortStallIsForgiven)
{
	begin(true);
	for (unsigned int i = 0; i < 10; i++) {
		drives_[5]->hang(machine_->now_ns() + 7 * second, false);
		run_for(10 * second);
	}
	EXPECT_TRUE(failed_.empty());
}

// Then a drive that comes back at last is worth more than none.
TEST_F(Stall, WhereAnotherIsLostASlowDriveIsKept)
{
	begin(false);
	drives_[1]->vanish(rng_);
	run_for(5 * second);
	ASSERT_EQ(failed_.size(), 1U);
	drives_[2]->hang(machine_->now_ns() + 40 * second, false);
	run_for(60 * second);
	EXPECT_EQ(failed_.size(), 1U);
	expect_fast(10 * second);
}

TEST_F(Stall, WhenWhatWasLostIsRebuiltTheNextIsFailed)
{
	begin(true);
	drives_[1]->vanish(rng_);
	run_for(60 * second);
	ASSERT_EQ(failed_.size(), 1U);
	ASSERT_EQ(state(1), PAV_DRIVE_ACTIVE);
	drives_[2]->latency.unheard = 30 * second;
	run_for(20 * second);
	ASSERT_EQ(failed_.size(), 2U);
	EXPECT_EQ(failed_[1].slot, 2U);
}

// A machine that was put to sleep finds its clock ahead, and commands older than any limit.
TEST_F(Stall, TheTimeAMachineSleepsDoesNotCount)
{
	begin(true);
	for (unsigned int i = 0; i < 10; i++) {
		drives_[5]->hang(machine_->now_ns() + 3600 * second + 3 * second, false);
		run_for(3 * second);
		machine_->skip_to(machine_->now_ns() + 3600 * second);
		run_for(10 * second);
	}
	EXPECT_TRUE(failed_.empty());
}

TEST_F(Stall, WithoutALimitNoneIsFailed)
{
	pav_stall_limit = 0;
	begin(true);
	drives_[5]->hang(machine_->now_ns() + 600 * second, false);
	run_for(700 * second);
	EXPECT_TRUE(failed_.empty());
}

// It is not one that vanished: it does not come home by itself.
TEST_F(Stall, ADriveThatStalledDoesNotComeHome)
{
	pav_err err{};
	int result = 0;

	begin(false);
	drives_[2]->hang(machine_->now_ns() + 30 * second, false);
	run_for(60 * second);
	ASSERT_EQ(failed_.size(), 1U);
	as_process([&] { result = pav_engine_return(engine_, &devs_[2], &err); });
	EXPECT_NE(result, 0);
	EXPECT_STRNE(err.text, "");
	EXPECT_EQ(state(2), PAV_DRIVE_FAILED);
}

}  // namespace
}  // namespace pav::sim
