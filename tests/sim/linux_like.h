/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The primitives of env.h under their Linux names, for C sources of the engine in user space.
 *
 * The simulator runs one thing at a time, so an atomic is a plain integer and a lock is a flag. What could go wrong on several CPUs is shown in another
 * way: at each operation that orders memory or takes a lock, sim_point() may put the running code aside and let other code run first, as if that were on
 * another CPU; by chance, or because the seed wants it at this very place of the sources (struct sim_place). It never does so inside a spinlock. Breaking a rule (a lock taken twice, sleeping under a spinlock, a lock not held that should be) ends
 * the run with a message.
 */
#ifndef PAV_LINUX_LIKE_H
#define PAV_LINUX_LIKE_H

#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;

struct list_head {
	struct list_head *next, *prev;
};

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

/* Who holds a lock: the id of a fiber, 0: nobody. */
struct sim_dep {
	u32 holder;
};

typedef struct {
	struct sim_dep dep;
	int made;
} spinlock_t;

struct mutex {
	struct sim_dep dep;
	int made;
	struct list_head waiters;
};

struct completion {
	unsigned int done;
	struct list_head waiters;
};

/* A rare branch; the linker gathers all of them in a section. */
struct sim_mark {
	const char *name;
	u64 count;
};

/* Where in the sources a sim_point() is; gathered in the same way. */
struct sim_place {
	const char *file;
	int line;
	bool sticky;		/* who comes here is often put aside: the host's */
};

#define BITS_PER_LONG		64
#define BITS_TO_LONGS(n)	(((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

/* ---- what the host (env_sim.cc) does for them ---- */
#ifdef __cplusplus
extern "C" {
#endif
extern int sim_countdown;				/* to the next preemption */
void sim_preempt(const struct sim_place *place);
void sim_relax(void);
void sim_spin_init(spinlock_t *lock);
void sim_spin_lock(spinlock_t *lock);
void sim_spin_unlock(spinlock_t *lock);
bool sim_spin_trylock(spinlock_t *lock);
void sim_assert_held(const struct sim_dep *dep, const char *what, const char *file, int line);
void mutex_init(struct mutex *m);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_is_locked(struct mutex *m);
void init_completion(struct completion *c);
void reinit_completion(struct completion *c);
void complete(struct completion *c);
void complete_all(struct completion *c);
void wait_for_completion(struct completion *c);
void cond_resched(void);
void sim_warn(const char *cond, const char *file, int line);
#ifdef __cplusplus
}
#endif

#ifndef __cplusplus	/* the rest is for the engine */

/* ---- language ---- */
#define __packed		__attribute__((packed))
#define __aligned(n)		__attribute__((aligned(n)))
#define __must_check		__attribute__((warn_unused_result))
#define __maybe_unused		__attribute__((unused))
#define __always_unused		__attribute__((unused))
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#undef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#define noinline		__attribute__((noinline))
#define fallthrough		__attribute__((fallthrough))
#define __force
#define __rcu
#define __init
#define __exit
#define ____cacheline_aligned	__attribute__((aligned(64)))
#define ____cacheline_aligned_in_smp __attribute__((aligned(64)))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define barrier()		__asm__ volatile("" ::: "memory")
#ifndef static_assert
#define static_assert		_Static_assert
#endif
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define EXPORT_SYMBOL_GPL(x)
#define prefetch(x)		__builtin_prefetch(x)

#define container_of(ptr, type, member) ({					\
	void *mptr_ = (void *)(ptr);						\
	_Static_assert(__builtin_types_compatible_p(typeof(*(ptr)), typeof(((type *)0)->member)) || \
		       __builtin_types_compatible_p(typeof(*(ptr)), void), "container_of: wrong type"); \
	(type *)((uintptr_t)mptr_ - offsetof(type, member)); })
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define struct_size(p, member, n) (sizeof(*(p)) + sizeof((p)->member[0]) * (size_t)(n))
#define sizeof_field(type, member) sizeof(((type *)0)->member)

#define sim_cmp(x, y, op) ({ typeof(x) x_ = (x); typeof(y) y_ = (y); (void)(&x_ == &y_); x_ op y_ ? x_ : y_; })
#define min(x, y)		sim_cmp(x, y, <)
#define max(x, y)		sim_cmp(x, y, >)
#define min_t(t, x, y)		({ t a_ = (x); t b_ = (y); a_ < b_ ? a_ : b_; })
#define max_t(t, x, y)		({ t a_ = (x); t b_ = (y); a_ > b_ ? a_ : b_; })
#define min3(x, y, z)		min((typeof(x))min(x, y), z)
#define max3(x, y, z)		max((typeof(x))max(x, y), z)
#define clamp_t(t, v, lo, hi)	min_t(t, max_t(t, v, lo), hi)
#define clamp(v, lo, hi)	min((typeof(v))max(v, lo), hi)
#define swap(a, b)		do { typeof(a) t_ = (a); (a) = (b); (b) = t_; } while (0)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define DIV_ROUND_UP_ULL(n, d)	(((unsigned long long)(n) + (d) - 1) / (d))
#define roundup(x, y)		({ typeof(y) m_ = (y); (((x) + (m_ - 1)) / m_) * m_; })
#define rounddown(x, y)		({ typeof(x) v_ = (x); v_ - (v_ % (y)); })
#define round_up(x, y)		((((x) - 1) | ((typeof(x))(y) - 1)) + 1)
#define round_down(x, y)	((x) & ~((typeof(x))(y) - 1))
#define ALIGN(x, a)		round_up(x, a)
#define IS_ALIGNED(x, a)	(((x) & ((typeof(x))(a) - 1)) == 0)
#define abs_diff(a, b)		({ typeof(a) x_ = (a); typeof(b) y_ = (b); x_ > y_ ? x_ - y_ : y_ - x_; })

#define U8_MAX			((u8)~0U)
#define U16_MAX			((u16)~0U)
#define U32_MAX			((u32)~0U)
#define U64_MAX			((u64)~0ULL)
#define S64_MAX			((s64)(U64_MAX >> 1))

#define MAX_ERRNO		4095
#define NSEC_PER_SEC		1000000000L
#define NSEC_PER_MSEC		1000000L
#define NSEC_PER_USEC		1000L

static inline void *ERR_PTR(long error)
{
	return (void *)error;
}

static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}

static inline bool IS_ERR(const void *ptr)
{
	return (unsigned long)ptr >= (unsigned long)-MAX_ERRNO;
}

#define WARN_ON_ONCE(cond)	({ bool c_ = !!(cond); if (unlikely(c_)) sim_warn(#cond, __FILE__, __LINE__); c_; })
#define WARN_ON(cond)		WARN_ON_ONCE(cond)

/* Marks a branch that is rarely taken. The simulator counts how often each was, over all seeds, and lists those that never were. */
#define pav_reached(branch)	do { static struct sim_mark m_ __attribute__((section("pav_marks"), used)) = { branch, 0 }; m_.count++; } while (0)

/* ---- bits ---- */
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define BIT_MASK(n)		(1UL << ((n) % BITS_PER_LONG))

static inline unsigned int hweight64(u64 w)
{
	return (unsigned int)__builtin_popcountll(w);
}

static inline unsigned int hweight32(u32 w)
{
	return (unsigned int)__builtin_popcount(w);
}

static inline unsigned long __ffs64(u64 w)
{
	return (unsigned long)__builtin_ctzll(w);
}

static inline unsigned long __ffs(unsigned long w)
{
	return (unsigned long)__builtin_ctzl(w);
}

static inline int fls64(u64 w)
{
	return w ? 64 - __builtin_clzll(w) : 0;
}

static inline int fls(unsigned int w)
{
	return w ? 32 - __builtin_clz(w) : 0;
}

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

static inline int ilog2(u64 n)
{
	return fls64(n) - 1;
}

static inline u64 roundup_pow_of_two(u64 n)
{
	return n <= 1 ? 1 : 1ULL << fls64(n - 1);
}

static inline u32 lower_32_bits(u64 v)
{
	return (u32)v;
}

static inline u32 upper_32_bits(u64 v)
{
	return (u32)(v >> 32);
}

static inline bool test_bit(unsigned long n, const unsigned long *map)
{
	return map[n / BITS_PER_LONG] >> (n % BITS_PER_LONG) & 1;
}

static inline void __set_bit(unsigned long n, unsigned long *map)
{
	map[n / BITS_PER_LONG] |= BIT_MASK(n);
}

static inline void __clear_bit(unsigned long n, unsigned long *map)
{
	map[n / BITS_PER_LONG] &= ~BIT_MASK(n);
}

static inline bool __test_and_set_bit(unsigned long n, unsigned long *map)
{
	bool was = test_bit(n, map);

	__set_bit(n, map);
	return was;
}

static inline bool __test_and_clear_bit(unsigned long n, unsigned long *map)
{
	bool was = test_bit(n, map);

	__clear_bit(n, map);
	return was;
}

static inline unsigned long sim_find_next(const unsigned long *map, unsigned long size, unsigned long from, unsigned long flip)
{
	while (from < size) {
		unsigned long w = (map[from / BITS_PER_LONG] ^ flip) >> (from % BITS_PER_LONG);

		if (w) {
			from += __ffs(w);
			return from < size ? from : size;
		}
		from = (from / BITS_PER_LONG + 1) * BITS_PER_LONG;
	}
	return size;
}

static inline unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	return sim_find_next(map, size, from, 0);
}

static inline unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	return sim_find_next(map, size, from, ~0UL);
}

#define find_first_bit(map, size)	find_next_bit(map, size, 0)
#define find_first_zero_bit(map, size)	find_next_zero_bit(map, size, 0)
#define for_each_set_bit(bit, map, size) \
	for ((bit) = find_next_bit(map, size, 0); (bit) < (size); (bit) = find_next_bit(map, size, (bit) + 1))

static inline void bitmap_zero(unsigned long *map, unsigned int bits)
{
	memset(map, 0, BITS_TO_LONGS((size_t)bits) * sizeof(long));
}

static inline void bitmap_fill(unsigned long *map, unsigned int bits)
{
	memset(map, 0xff, BITS_TO_LONGS((size_t)bits) * sizeof(long));
}

static inline void bitmap_set(unsigned long *map, unsigned int start, unsigned int n)
{
	while (n--)
		__set_bit(start++, map);
}

static inline void bitmap_clear(unsigned long *map, unsigned int start, unsigned int n)
{
	while (n--)
		__clear_bit(start++, map);
}

static inline unsigned int bitmap_weight(const unsigned long *map, unsigned int bits)
{
	unsigned int n = 0, i;

	for (i = 0; i < bits / BITS_PER_LONG; i++)
		n += hweight64(map[i]);
	if (bits % BITS_PER_LONG)
		n += hweight64(map[i] & (BIT(bits % BITS_PER_LONG) - 1));
	return n;
}

static inline bool bitmap_empty(const unsigned long *map, unsigned int bits)
{
	return find_next_bit(map, bits, 0) >= bits;
}

/* ---- byte order ---- */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the simulator runs on little-endian machines"
#endif
#define cpu_to_le16(v)		((__le16)(u16)(v))
#define cpu_to_le32(v)		((__le32)(u32)(v))
#define cpu_to_le64(v)		((__le64)(u64)(v))
#define le16_to_cpu(v)		((u16)(__le16)(v))
#define le32_to_cpu(v)		((u32)(__le32)(v))
#define le64_to_cpu(v)		((u64)(__le64)(v))

static inline void le16_add_cpu(__le16 *v, u16 n)
{
	*v = (u16)(*v + n);
}

static inline void le32_add_cpu(__le32 *v, u32 n)
{
	*v += n;
}

static inline void le64_add_cpu(__le64 *v, u64 n)
{
	*v += n;
}

/* ---- order ---- */
#define sim_point() do {								\
	static struct sim_place p_ __attribute__((section("pav_places"), used)) = { __FILE__, __LINE__, false }; \
	if (unlikely(--sim_countdown <= 0 || p_.sticky))				\
		sim_preempt(&p_);							\
} while (0)

#define READ_ONCE(x)		({ sim_point(); *(const volatile typeof(x) *)&(x); })
#define WRITE_ONCE(x, v)	do { *(volatile typeof(x) *)&(x) = (v); sim_point(); } while (0)
#define smp_load_acquire(p)	({ sim_point(); typeof(*(p)) l_ = *(const volatile typeof(*(p)) *)(p); barrier(); l_; })
#define smp_store_release(p, v)	do { barrier(); *(volatile typeof(*(p)) *)(p) = (v); sim_point(); } while (0)
#define smp_rmb()		sim_point()
#define smp_wmb()		sim_point()
#define smp_mb()		sim_point()
#define smp_mb__before_atomic()	barrier()
#define smp_mb__after_atomic()	barrier()
/* Spinning for another CPU can only end if that one gets to run. */
#define cpu_relax()		sim_relax()
#define xchg(p, v)		({ sim_point(); typeof(*(p)) o_ = *(p); *(p) = (v); o_; })
#define cmpxchg(p, o, n)	({ sim_point(); typeof(*(p)) w_ = *(p); if (w_ == (o)) *(p) = (n); w_; })

#define ATOMIC_INIT(i)		{ (i) }
#define ATOMIC64_INIT(i)	{ (i) }

/* What they do; where they are used there is a point before it, or, of set(), after. */
#define SIM_ATOMIC(A, T, N)										\
static inline N A##_read(const T *v) { return v->counter; }						\
static inline void A##_set(T *v, N i) { v->counter = i; }						\
static inline N A##_add_return(N i, T *v) { return v->counter += i; }					\
static inline N A##_sub_return(N i, T *v) { return v->counter -= i; }					\
static inline N A##_fetch_add(N i, T *v) { v->counter += i; return v->counter - i; }			\
static inline void A##_add(N i, T *v) { v->counter += i; }						\
static inline void A##_sub(N i, T *v) { v->counter -= i; }						\
static inline void A##_inc(T *v) { v->counter++; }							\
static inline void A##_dec(T *v) { v->counter--; }							\
static inline N A##_inc_return(T *v) { return ++v->counter; }						\
static inline N A##_dec_return(T *v) { return --v->counter; }						\
static inline bool A##_dec_and_test(T *v) { return --v->counter == 0; }					\
static inline bool A##_inc_and_test(T *v) { return ++v->counter == 0; }					\
static inline bool A##_sub_and_test(N i, T *v) { return (v->counter -= i) == 0; }			\
static inline N A##_xchg(T *v, N n) { N was = v->counter; v->counter = n; return was; }			\
static inline N A##_cmpxchg(T *v, N o, N n)								\
{													\
	N was = v->counter;										\
	if (was == o)											\
		v->counter = n;										\
	return was;											\
}													\
static inline bool A##_try_cmpxchg(T *v, N *o, N n)							\
{													\
	N was = A##_cmpxchg(v, *o, n);									\
	bool ok = was == *o;										\
	*o = was;											\
	return ok;											\
}													\
static inline bool A##_add_unless(T *v, N a, N u)							\
{													\
	if (v->counter == u)										\
		return false;										\
	v->counter += a;										\
	return true;											\
}													\
static inline bool A##_inc_not_zero(T *v) { return A##_add_unless(v, 1, 0); }
SIM_ATOMIC(atomic, atomic_t, int)
SIM_ATOMIC(atomic64, atomic64_t, s64)

#define sim_at_point(what)		({ sim_point(); what; })
#define atomic_read(v)			sim_at_point(atomic_read(v))
#define atomic_set(v, i)		({ atomic_set(v, i); sim_point(); })
#define atomic_add_return(i, v)		sim_at_point(atomic_add_return(i, v))
#define atomic_sub_return(i, v)		sim_at_point(atomic_sub_return(i, v))
#define atomic_fetch_add(i, v)		sim_at_point(atomic_fetch_add(i, v))
#define atomic_add(i, v)		sim_at_point(atomic_add(i, v))
#define atomic_sub(i, v)		sim_at_point(atomic_sub(i, v))
#define atomic_inc(v)			sim_at_point(atomic_inc(v))
#define atomic_dec(v)			sim_at_point(atomic_dec(v))
#define atomic_inc_return(v)		sim_at_point(atomic_inc_return(v))
#define atomic_dec_return(v)		sim_at_point(atomic_dec_return(v))
#define atomic_dec_and_test(v)		sim_at_point(atomic_dec_and_test(v))
#define atomic_inc_and_test(v)		sim_at_point(atomic_inc_and_test(v))
#define atomic_sub_and_test(i, v)	sim_at_point(atomic_sub_and_test(i, v))
#define atomic_xchg(v, n)		sim_at_point(atomic_xchg(v, n))
#define atomic_cmpxchg(v, o, n)		sim_at_point(atomic_cmpxchg(v, o, n))
#define atomic_try_cmpxchg(v, o, n)	sim_at_point(atomic_try_cmpxchg(v, o, n))
#define atomic_add_unless(v, a, u)	sim_at_point(atomic_add_unless(v, a, u))
#define atomic_inc_not_zero(v)		sim_at_point(atomic_inc_not_zero(v))
#define atomic64_read(v)		sim_at_point(atomic64_read(v))
#define atomic64_set(v, i)		({ atomic64_set(v, i); sim_point(); })
#define atomic64_add_return(i, v)	sim_at_point(atomic64_add_return(i, v))
#define atomic64_sub_return(i, v)	sim_at_point(atomic64_sub_return(i, v))
#define atomic64_fetch_add(i, v)	sim_at_point(atomic64_fetch_add(i, v))
#define atomic64_add(i, v)		sim_at_point(atomic64_add(i, v))
#define atomic64_sub(i, v)		sim_at_point(atomic64_sub(i, v))
#define atomic64_inc(v)			sim_at_point(atomic64_inc(v))
#define atomic64_dec(v)			sim_at_point(atomic64_dec(v))
#define atomic64_inc_return(v)		sim_at_point(atomic64_inc_return(v))
#define atomic64_dec_return(v)		sim_at_point(atomic64_dec_return(v))
#define atomic64_dec_and_test(v)	sim_at_point(atomic64_dec_and_test(v))
#define atomic64_inc_and_test(v)	sim_at_point(atomic64_inc_and_test(v))
#define atomic64_sub_and_test(i, v)	sim_at_point(atomic64_sub_and_test(i, v))
#define atomic64_xchg(v, n)		sim_at_point(atomic64_xchg(v, n))
#define atomic64_cmpxchg(v, o, n)	sim_at_point(atomic64_cmpxchg(v, o, n))
#define atomic64_try_cmpxchg(v, o, n)	sim_at_point(atomic64_try_cmpxchg(v, o, n))
#define atomic64_add_unless(v, a, u)	sim_at_point(atomic64_add_unless(v, a, u))
#define atomic64_inc_not_zero(v)	sim_at_point(atomic64_inc_not_zero(v))

/* ---- locks ---- */
#define spin_lock_init(l)		sim_spin_init(l)
#define spin_lock(l)			do { sim_point(); sim_spin_lock(l); } while (0)
#define spin_unlock(l)			do { sim_spin_unlock(l); sim_point(); } while (0)
#define spin_lock_irq(l)		spin_lock(l)
#define spin_unlock_irq(l)		spin_unlock(l)
#define spin_lock_bh(l)			spin_lock(l)
#define spin_unlock_bh(l)		spin_unlock(l)
#define spin_trylock(l)			({ sim_point(); sim_spin_trylock(l); })
#define spin_lock_irqsave(l, flags)	do { unsigned long *f_ = &(flags); *f_ = 1; spin_lock(l); } while (0)
#define spin_unlock_irqrestore(l, flags) do { (void)(flags); spin_unlock(l); } while (0)
#define mutex_lock(m)			do { sim_point(); mutex_lock(m); } while (0)
#define mutex_unlock(m)			do { mutex_unlock(m); sim_point(); } while (0)
#define lockdep_assert_held(l)		sim_assert_held(&(l)->dep, #l, __FILE__, __LINE__)
#define might_sleep()			do { } while (0)
#define mutex_destroy(m)		do { } while (0)

/* ---- lists ---- */
#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *h)
{
	h->next = h->prev = h;
}

static inline void sim_list_insert(struct list_head *n, struct list_head *prev, struct list_head *next)
{
	n->prev = prev;
	n->next = next;
	prev->next = n;
	next->prev = n;
}

static inline void list_add(struct list_head *n, struct list_head *h)
{
	sim_list_insert(n, h, h->next);
}

static inline void list_add_tail(struct list_head *n, struct list_head *h)
{
	sim_list_insert(n, h->prev, h);
}

static inline void list_del(struct list_head *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
	n->next = n->prev = NULL;	/* a second list_del() must crash */
}

static inline void list_del_init(struct list_head *n)
{
	list_del(n);
	INIT_LIST_HEAD(n);
}

static inline void list_move(struct list_head *n, struct list_head *h)
{
	list_del(n);
	list_add(n, h);
}

static inline void list_move_tail(struct list_head *n, struct list_head *h)
{
	list_del(n);
	list_add_tail(n, h);
}

static inline bool list_empty(const struct list_head *h)
{
	return h->next == h;
}

static inline bool list_is_singular(const struct list_head *h)
{
	return !list_empty(h) && h->next == h->prev;
}

static inline bool list_is_last(const struct list_head *n, const struct list_head *h)
{
	return n->next == h;
}

static inline bool list_is_first(const struct list_head *n, const struct list_head *h)
{
	return n->prev == h;
}

static inline void sim_list_splice(struct list_head *from, struct list_head *prev, struct list_head *next)
{
	if (list_empty(from))
		return;
	from->next->prev = prev;
	prev->next = from->next;
	from->prev->next = next;
	next->prev = from->prev;
}

static inline void list_splice(struct list_head *from, struct list_head *h)
{
	sim_list_splice(from, h, h->next);
}

static inline void list_splice_tail(struct list_head *from, struct list_head *h)
{
	sim_list_splice(from, h->prev, h);
}

static inline void list_splice_init(struct list_head *from, struct list_head *h)
{
	list_splice(from, h);
	INIT_LIST_HEAD(from);
}

static inline void list_splice_tail_init(struct list_head *from, struct list_head *h)
{
	list_splice_tail(from, h);
	INIT_LIST_HEAD(from);
}

static inline void list_replace(struct list_head *old, struct list_head *n)
{
	sim_list_insert(n, old->prev, old->next);
}

static inline void list_replace_init(struct list_head *old, struct list_head *n)
{
	list_replace(old, n);
	INIT_LIST_HEAD(old);
}

#define list_entry(p, type, member)		container_of(p, type, member)
#define list_first_entry(h, type, member)	list_entry((h)->next, type, member)
#define list_last_entry(h, type, member)	list_entry((h)->prev, type, member)
#define list_first_entry_or_null(h, type, member) (list_empty(h) ? NULL : list_first_entry(h, type, member))
#define list_next_entry(p, member)		list_entry((p)->member.next, typeof(*(p)), member)
#define list_prev_entry(p, member)		list_entry((p)->member.prev, typeof(*(p)), member)
#define list_entry_is_head(p, h, member)	(&(p)->member == (h))
#define list_for_each(p, h)			for (p = (h)->next; p != (h); p = p->next)
#define list_for_each_safe(p, n, h)		for (p = (h)->next, n = p->next; p != (h); p = n, n = p->next)
#define list_for_each_entry(p, h, member) \
	for (p = list_first_entry(h, typeof(*p), member); !list_entry_is_head(p, h, member); p = list_next_entry(p, member))
#define list_for_each_entry_reverse(p, h, member) \
	for (p = list_last_entry(h, typeof(*p), member); !list_entry_is_head(p, h, member); p = list_prev_entry(p, member))
#define list_for_each_entry_continue(p, h, member) \
	for (p = list_next_entry(p, member); !list_entry_is_head(p, h, member); p = list_next_entry(p, member))
#define list_for_each_entry_safe(p, n, h, member) \
	for (p = list_first_entry(h, typeof(*p), member), n = list_next_entry(p, member); \
	     !list_entry_is_head(p, h, member); p = n, n = list_next_entry(n, member))

/* ---- lists without a lock ---- */
#define LLIST_HEAD_INIT(name)	{ NULL }
#define LLIST_HEAD(name)	struct llist_head name = LLIST_HEAD_INIT(name)

static inline void init_llist_head(struct llist_head *h)
{
	h->first = NULL;
}

static inline bool llist_empty(const struct llist_head *h)
{
	return !READ_ONCE(h->first);
}

static inline bool llist_add_batch(struct llist_node *first, struct llist_node *last, struct llist_head *h)
{
	bool was_empty;

	sim_point();
	was_empty = !h->first;
	last->next = h->first;
	h->first = first;
	return was_empty;
}

static inline bool llist_add(struct llist_node *n, struct llist_head *h)
{
	return llist_add_batch(n, n, h);
}

static inline struct llist_node *llist_del_all(struct llist_head *h)
{
	return xchg(&h->first, NULL);
}

static inline struct llist_node *llist_del_first(struct llist_head *h)
{
	struct llist_node *n;

	sim_point();
	n = h->first;
	if (n)
		h->first = n->next;
	return n;
}

static inline struct llist_node *llist_reverse_order(struct llist_node *n)
{
	struct llist_node *out = NULL;

	while (n) {
		struct llist_node *next = n->next;

		n->next = out;
		out = n;
		n = next;
	}
	return out;
}

#define llist_entry(p, type, member)	container_of(p, type, member)
/* As in Linux: stops when the address of the member is NULL. */
#define sim_llist_end(p, member)	((uintptr_t)(p) + offsetof(typeof(*(p)), member) == 0)
#define llist_for_each(p, node)		for ((p) = (node); p; (p) = (p)->next)
#define llist_for_each_safe(p, n, node)	for ((p) = (node); (p) && ((n) = (p)->next, true); (p) = (n))
#define llist_for_each_entry(p, node, member) \
	for ((p) = llist_entry((node), typeof(*(p)), member); !sim_llist_end(p, member); \
	     (p) = llist_entry((p)->member.next, typeof(*(p)), member))
#define llist_for_each_entry_safe(p, n, node, member) \
	for ((p) = llist_entry((node), typeof(*(p)), member); \
	     !sim_llist_end(p, member) && ((n) = llist_entry((p)->member.next, typeof(*(n)), member), true); (p) = (n))

/* ---- strings ---- */
static inline ssize_t strscpy(char *dst, const char *src, size_t size)
{
	size_t n = strnlen(src, size);

	if (!size)
		return -E2BIG;
	if (n == size) {
		memcpy(dst, src, size - 1);
		dst[size - 1] = '\0';
		return -E2BIG;
	}
	memcpy(dst, src, n + 1);
	return (ssize_t)n;
}

static inline int vscnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(buf, size, fmt, ap);

	if (!size)
		return 0;
	return n < (int)size ? n : (int)size - 1;
}

static inline __printf(3, 4) int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vscnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

static inline void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *b = p;

	for (; n; n--, b++)
		if (*b != (u8)c)
			return (void *)b;
	return NULL;
}

#endif /* __cplusplus */
#endif
