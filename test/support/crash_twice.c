/* crash_twice.c - pages of one number and one birth that were written with different content: by somebody
 * who died before a meta told of the id, and by who came next and used it again. */
#include "crash_impl.h"
#include "format.h"
#include "sim_os.h"
#include <stdlib.h>

static size_t place_of(const crash_twice *twice, uint64_t page, uint64_t birth)
{
    size_t i = (size_t)((page * 0x9e3779b97f4a7c15u ^ birth) * 0xbf58476d1ce4e5b9u >> 20);
    for (;; i++) {
        const struct crash_written *w = &twice->written[i & (twice->cap - 1)];
        if (w->birth == 0 || (w->page == page && w->birth == birth))
            return i & (twice->cap - 1);
    }
}

static void grow(crash_twice *twice)
{
    crash_twice old = *twice;
    twice->cap = old.cap ? 2 * old.cap : 1024;
    twice->written = calloc(twice->cap, sizeof *twice->written);
    if (!twice->written)
        sim_die("out of memory");
    for (size_t i = 0; i < old.cap; i++)
        if (old.written[i].birth)
            twice->written[place_of(twice, old.written[i].page, old.written[i].birth)] =
                old.written[i];
    free(old.written);
}

static void note(crash_twice *twice, const uint8_t *page)
{
    struct crash_written here = {kvi_get64(page + KVI_P_page), kvi_get64(page + KVI_P_birth),
                                 kvi_get64(page + KVI_P_checksum)};
    if (twice->n * 2 >= twice->cap)
        grow(twice);
    struct crash_written *w = &twice->written[place_of(twice, here.page, here.birth)];
    twice->n += w->birth == 0;
    if (w->birth && w->checksum != here.checksum && here.birth < twice->least)
        twice->least = here.birth;
    *w = here;
}

void crash_twice_note(crash_twice *twice, const sim_disk *disk, uint32_t page_size)
{
    for (size_t i = 0; i < disk->n_events; i++) {
        const sim_event *e = &disk->events[i];
        if (e->kind != SIM_WRITE || e->off % page_size != 0)
            continue;
        for (uint64_t at = 0; at + page_size <= e->len; at += page_size) {
            const uint8_t *page = e->data + at;
            bool typed = page[KVI_P_type] >= KVI_LEAF && page[KVI_P_type] <= KVI_BLOCKED;
            if (typed && kvi_get64(page + KVI_P_page) == (e->off + at) / page_size &&
                kvi_get64(page + KVI_P_birth) != 0)
                note(twice, page);
        }
    }
}

void crash_twice_free(crash_twice *twice)
{
    free(twice->written);
}
