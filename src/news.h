/* news.h - telling those who wait for a commit, in any process, that there is one.
 *
 * Two words of the board: news, on which they sleep (a futex), and awaited, which says that somebody
 * does, so that a commit which nobody waits for makes no system call.
 *
 *   who waits:  load news; store awaited; full fence; look at the counter, done when it moved;
 *               sleep unless news has changed
 *   publisher:  store the counter; full fence; take awaited back; if it was set: change news, wake all
 *
 * Either the publisher finds awaited set, or whoever set it sees the new counter. If it finds it set,
 * news changes after that: whoever loaded it before does not fall asleep, or is woken. It must not
 * change before awaited is taken back: somebody might wait for the next commit by then, in the
 * belief that the word is still set.
 *
 * A publisher that dies half way wakes nobody. So nobody sleeps longer than KVI_NEWS_RECHECK_NS without
 * a look at the counter. The model: test/models/watch.pml.
 */
#ifndef KVI_NEWS_H
#define KVI_NEWS_H

#include "os.h"
#include "side.h"

#define KVI_NEWS_RECHECK_NS UINT64_C(1000000000)

/* Behind the store of the counter. */
void kvi_news_tell(const kvi_os *os, kvi_board *board);

/* Wakes all, to look at something else than the counter. */
void kvi_news_stir(const kvi_os *os, kvi_board *board);

/* Says that we wait, before the look at what is waited for; then sleeps, for at most ns. It may
 * return for no reason. */
uint32_t kvi_news_listen(kvi_board *board);
void kvi_news_sleep(const kvi_os *os, kvi_board *board, uint32_t news, uint64_t ns);

#endif
