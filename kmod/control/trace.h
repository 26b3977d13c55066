/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: /sys/kernel/tracing/events/pavraid/. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pavraid

#if !defined(PAV_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PAV_TRACE_H

#include <linux/tracepoint.h>

#include "engine.h"

#define pav_show_req_op(op) \
	__print_symbolic(op, { PAV_READ, "read" }, { PAV_WRITE, "write" }, { PAV_UNMAP, "unmap" })
#define pav_show_io_op(op) \
	__print_symbolic(op, { PAV_IO_READ, "read" }, { PAV_IO_WRITE, "write" }, { PAV_IO_FLUSH, "flush" }, { PAV_IO_DISCARD, "discard" })

/* A request, as the engine gets it and as it leaves it; @req tells which belong together. */
DECLARE_EVENT_CLASS(pav_request,
	TP_PROTO(const struct pav_req *req),
	TP_ARGS(req),
	TP_STRUCT__entry(
		__field(const void *, req)
		__field(const void *, vol)
		__field(u64, lba)
		__field(unsigned int, cells)
		__field(int, op)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->req = req;
		__entry->vol = req->vol;
		__entry->lba = req->lba;
		__entry->cells = req->cells;
		__entry->op = req->op;
		__entry->error = req->error;
	),
	TP_printk("req %p volume %p %s lba %llu cells %u error %d", __entry->req, __entry->vol, pav_show_req_op(__entry->op),
		  __entry->lba, __entry->cells, __entry->error)
);
DEFINE_EVENT(pav_request, pav_request_submit, TP_PROTO(const struct pav_req *req), TP_ARGS(req));
DEFINE_EVENT(pav_request, pav_request_done, TP_PROTO(const struct pav_req *req), TP_ARGS(req));

/* An I/O of the engine's own on one drive. */
DECLARE_EVENT_CLASS(pav_io,
	TP_PROTO(const struct pav_io *io),
	TP_ARGS(io),
	TP_STRUCT__entry(
		__field(const void *, io)
		__field(dev_t, dev)
		__field(u64, block)
		__field(unsigned int, cells)
		__field(int, op)
		__field(bool, fua)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->io = io;
		__entry->dev = pav_dev_number(io->dev);
		__entry->block = io->block;
		__entry->cells = io->cells;
		__entry->op = io->op;
		__entry->fua = io->fua;
		__entry->error = io->error;
	),
	TP_printk("io %p drive %d:%d %s%s block %llu cells %u error %d", __entry->io, MAJOR(__entry->dev), MINOR(__entry->dev),
		  pav_show_io_op(__entry->op), __entry->fua ? " fua" : "", __entry->block, __entry->cells, __entry->error)
);
DEFINE_EVENT(pav_io, pav_io_submit, TP_PROTO(const struct pav_io *io), TP_ARGS(io));
DEFINE_EVENT(pav_io, pav_io_done, TP_PROTO(const struct pav_io *io), TP_ARGS(io));

/* A read of user data straight into the user's memory: @n cells from cell @idx of the request on. */
DECLARE_EVENT_CLASS(pav_uio,
	TP_PROTO(const struct pav_uio *uio, dev_t dev, u64 block),
	TP_ARGS(uio, dev, block),
	TP_STRUCT__entry(
		__field(const void *, req)
		__field(dev_t, dev)
		__field(u64, block)
		__field(unsigned int, idx)
		__field(unsigned int, n)
	),
	TP_fast_assign(
		__entry->req = uio->req;
		__entry->dev = dev;
		__entry->block = block;
		__entry->idx = uio->idx;
		__entry->n = uio->n;
	),
	TP_printk("req %p drive %d:%d block %llu idx %u cells %u", __entry->req, MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->block, __entry->idx, __entry->n)
);
DEFINE_EVENT(pav_uio, pav_uio_read, TP_PROTO(const struct pav_uio *uio, dev_t dev, u64 block), TP_ARGS(uio, dev, block));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
