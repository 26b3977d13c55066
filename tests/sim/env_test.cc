// SPDX-License-Identifier: GPL-2.0
// The machine and env.h on it: order, fibers, locks, workers, timers; and that each rule's breach is found.
#include "host.h"
#include "worker.h"

#include <gtest/gtest.h>

namespace pav::sim {
namespace {

class EnvTest : public testing::Test {
protected:
	Rng rng{42};
	Trace trace;
	Machine machine{rng, trace};

	void SetUp() override { host_options() = {}; }
	void run()
	{
		while (machine.step())
			;
	}
	void process(std::function<void()> body)
	{
		machine.spawn("test", std::move(body));
		run();
	}
};

TEST_F(EnvTest, EventsComeInTheOrderOfTheirTime)
{
	std::vector<int> order;

	machine.after(300, [&] { order.push_back(3); });
	machine.after(100, [&] {
		order.push_back(1);
		machine.after(50, [&] { order.push_back(2); });
	});
	const uint64_t never = machine.after(200, [&] { order.push_back(9); });

	EXPECT_TRUE(machine.cancel(never));
	EXPECT_FALSE(machine.cancel(never));
	run();
	EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
	EXPECT_EQ(machine.now_ns(), 300U);
}

TEST(Env, EventsOfOneTimeComeInAnOrderThatTheSeedDecides)
{
	std::vector<std::vector<int>> orders;

	for (const uint64_t seed : {1, 1, 2, 3}) {
		Rng rng(seed);
		Trace trace;
		Machine machine(rng, trace);
		std::vector<int> order;

		for (int i = 0; i < 10; i++)
			machine.after(5, [&order, i] { order.push_back(i); });
		while (machine.step())
			;
		orders.push_back(order);
	}
	EXPECT_EQ(orders[0], orders[1]);
	EXPECT_NE(orders[0], orders[2]);
	EXPECT_NE(orders[2], orders[3]);
}

TEST_F(EnvTest, AWorkerRunsItsQueueInOrderAndMaySleep)
{
	static std::vector<int> order;
	struct Item {
		pav_work work;
		int number;
	};
	static Item items[4];
	const auto fn = [](pav_work *work) {
		auto *item = reinterpret_cast<Item *>(work);

		order.push_back(item->number);
		pav_sleep_ns(1000);
		order.push_back(-item->number);
	};

	order.clear();
	process([&] {
		pav_worker *w = pav_worker_create("w");

		for (int i = 1; i < 4; i++) {
			pav_work_init(&items[i].work, fn);
			items[i].number = i;
			EXPECT_TRUE(pav_work_queue(w, &items[i].work));
			EXPECT_FALSE(pav_work_queue(w, &items[i].work));
		}
		EXPECT_TRUE(order.empty()) << "queueing does not preempt";
		pav_work_flush(w);
		EXPECT_EQ(order.size(), 6U);
		pav_work_queue(w, &items[1].work);
		pav_worker_destroy(w);
	});
	EXPECT_EQ(order, (std::vector<int>{1, -1, 2, -2, 3, -3, 1, -1}));
	EXPECT_TRUE(machine.workers.empty());
}

TEST_F(EnvTest, MutexesExcludeAndCompletionsWait)
{
	static struct mutex m;
	static struct completion c;
	static int inside, most, finished;

	inside = most = finished = 0;
	machine.set_preemption(3);
	mutex_init(&m);
	init_completion(&c);
	for (int i = 0; i < 5; i++)
		machine.spawn("contender", [] {
			wait_for_completion(&c);
			mutex_lock(&m);
			most = std::max(most, ++inside);
			pav_sleep_ns(500);
			inside--;
			mutex_unlock(&m);
			finished++;
		});
	machine.after(10'000, [] {
		complete(&c);
		complete(&c);
	});
	run();
	EXPECT_EQ(finished, 2);
	EXPECT_NE(machine.stuck(), "");
	machine.after(1, [] { complete_all(&c); });
	run();
	EXPECT_EQ(finished, 5);
	EXPECT_EQ(most, 1);
	EXPECT_EQ(machine.stuck(), "");
}

TEST_F(EnvTest, TimersMoveAndStop)
{
	static int fired;
	static pav_timer t;

	fired = 0;
	pav_timer_init(&t, [](pav_timer *) { fired++; });
	process([&] {
		pav_timer_arm(&t, 1000);
		pav_timer_arm(&t, 5000);
		pav_sleep_ns(2000);
		EXPECT_EQ(fired, 0);
		pav_sleep_ns(4000);
		EXPECT_EQ(fired, 1);
		pav_timer_arm(&t, 1000);
		pav_timer_cancel(&t);
		pav_sleep_ns(2000);
	});
	EXPECT_EQ(fired, 1);
}

TEST_F(EnvTest, PreemptionLetsOthersInBetween)
{
	static int shared;
	bool seen = false;

	shared = 0;
	machine.set_preemption(2);
	machine.spawn("one", [this] {
		for (int i = 0; i < 100; i++) {
			shared = 1;
			machine.preempt();
			shared = 0;
			machine.preempt();
		}
	});
	machine.spawn("two", [this, &seen] {
		for (int i = 0; i < 100; i++) {
			seen |= shared != 0;
			machine.preempt();
		}
	});
	run();
	EXPECT_TRUE(seen);
}

TEST_F(EnvTest, WhoComesToAStickyPlaceIsPutAsideAsSoonAsHeMay)
{
	static struct sim_place here = {"here", 1, true}, elsewhere = {"elsewhere", 1, false};
	static spinlock_t lock;
	uint64_t began = 0, was_elsewhere = 0, was_locked = 0, came_on = 0;

	sim_spin_init(&lock);
	machine.set_sticky(1, 1'000'000);
	machine.spawn("one", [&] {
		began = machine.now_ns();
		sim_preempt(&elsewhere);
		was_elsewhere = machine.now_ns();
		sim_spin_lock(&lock);
		sim_preempt(&here);
		was_locked = machine.now_ns();
		sim_spin_unlock(&lock);
		sim_preempt(&elsewhere);
		came_on = machine.now_ns();
	});
	run();
	EXPECT_EQ(was_elsewhere, began);
	EXPECT_EQ(was_locked, was_elsewhere) << "it holds a spinlock";
	EXPECT_GT(came_on, was_locked + 1000);
}

TEST_F(EnvTest, MemoryIsZeroedCountedAndFailsByTheSeed)
{
	process([&] {
		auto *p = static_cast<uint8_t *>(pav_alloc_cells(2));

		EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 4096, 0U);
		EXPECT_EQ(p[8191], 0);
		EXPECT_EQ(machine.live_allocations(), 1U);
		pav_free_cells(p, 2);
		host_options().alloc_failure = 2;
		int failures = 0;

		for (int i = 0; i < 100; i++) {
			void *q = pav_alloc(10);

			failures += !q;
			pav_free(q);
		}
		EXPECT_GT(failures, 20);
		EXPECT_LT(failures, 80);
		EXPECT_EQ(host_options().alloc_failures, static_cast<uint64_t>(failures));
	});
	EXPECT_EQ(machine.live_allocations(), 0U);
}

TEST(Env, TheSameSeedGivesTheSameTrace)
{
	const auto run = [](uint64_t seed) {
		Rng rng(seed);
		Trace trace;
		Machine machine(rng, trace);
		Drive drive(0, 64, true);
		std::vector<std::vector<uint8_t>> buffers(20, std::vector<uint8_t>(cell_bytes, 1));

		machine.set_preemption(5);
		for (uint64_t i = 0; i < buffers.size(); i++)
			machine.after(rng.below(1000), [&, i] {
				drive.submit({.op = PAV_IO_WRITE, .block = i, .cells = 1, .fua = false, .from = buffers[i].data(), .into = nullptr, .done = [](int) {}, .data = {}});
			});
		while (machine.step())
			;
		return trace.hash();
	};

	EXPECT_EQ(run(1), run(1));
	EXPECT_NE(run(1), run(2));
}

class EnvDeathTest : public EnvTest {
protected:
	static inline spinlock_t lock;
	static inline struct mutex m;
	static inline pav_work work;
	static inline pav_timer timer;

	void SetUp() override
	{
		EnvTest::SetUp();
		sim_spin_init(&lock);
		mutex_init(&m);
	}
	void dies(const char *why, const std::function<void()> &body)
	{
		EXPECT_EXIT(process(body), testing::ExitedWithCode(failed_exit), why);
	}
};

TEST_F(EnvDeathTest, SleepingUnderASpinlock)
{
	dies("nothing may sleep", [] {
		sim_spin_lock(&lock);
		mutex_lock(&m);
	});
	dies("nothing may sleep", [] {
		sim_spin_lock(&lock);
		pav_alloc(1);
	});
}

TEST_F(EnvDeathTest, SleepingInATimerOrVectorSection)
{
	dies("nothing may sleep", [] {
		pav_timer_init(&timer, [](pav_timer *) { pav_sleep_ns(1); });
		pav_timer_arm(&timer, 1);
	});
	dies("nothing may sleep", [] {
		pav_vector_begin();
		pav_sleep_ns(1);
	});
}

TEST_F(EnvDeathTest, LocksTakenTwiceOrNeverReleased)
{
	dies("taken twice", [] {
		sim_spin_lock(&lock);
		sim_spin_lock(&lock);
	});
	dies("taken twice", [] {
		mutex_lock(&m);
		mutex_lock(&m);
	});
	dies("1 spinlock", [] { sim_spin_lock(&lock); });
	dies("not held here", [] { sim_assert_held(&lock.dep, "lock", "file", 1); });
	dies("not held here", [] { mutex_unlock(&m); });
}

TEST_F(EnvDeathTest, MemoryAndItems)
{
	dies("twice", [] {
		void *p = pav_alloc(8);

		pav_free(p);
		pav_free(p);
	});
	dies("never initialised", [] {
		work = {};
		pav_work_queue(pav_worker_create("w"), &work);
	});
	dies("waits for itself", [] {
		static pav_worker *w;

		w = pav_worker_create("w");
		pav_work_init(&work, [](pav_work *) { pav_work_flush(w); });
		pav_work_queue(w, &work);
	});
}

}  // namespace
}  // namespace pav::sim
