// SPDX-License-Identifier: GPL-2.0
/* One member's I/O. Errors are counted here and judged in group/. */
#include "drive.h"

void pav_drive_set_path(struct pav_drive *d, const char *path)
{
	size_t len = strlen(path), room = sizeof(d->path) - 1;

	strscpy(d->path, len > room ? path + len - room : path, sizeof(d->path));
}

void pav_drive_io(struct pav_drive *d, struct pav_io *io, enum pav_io_op op, u64 block, unsigned int cells, void *buf)
{
	struct pav_dev *dev = READ_ONCE(d->dev);

	io->dev = dev;
	io->op = op;
	io->block = block;
	io->cells = cells;
	io->buf = buf;
	io->error = 0;
	/* D3: nothing is acknowledged from a drive's volatile cache. */
	io->fua = op == PAV_IO_WRITE && pav_dev_volatile(dev);
	if (op == PAV_IO_READ) {
		pav_drive_count_read(d, cells);
	} else if (op == PAV_IO_WRITE) {
		atomic64_inc(&d->writes);
		atomic64_add(cells, &d->write_cells);
	}
	/* Whoever asked may have asked of the one before it in its slot. */
	if (op == PAV_IO_DISCARD && !pav_dev_discards(dev)) {
		io->error = -EOPNOTSUPP;
		io->done(io);
		return;
	}
	pav_io_submit(io);
}
