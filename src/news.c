/* news.c - see news.h. */
#include "news.h"
#include "mutant.h"

void kvi_news_stir(const kvi_os *os, kvi_board *board)
{
    atomic_fetch_add_explicit(&board->news, 1, memory_order_seq_cst);
    os->word_wake(os, &board->news);
}

void kvi_news_tell(const kvi_os *os, kvi_board *board)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&board->awaited, memory_order_relaxed) == 0)
        return;
    atomic_exchange_explicit(&board->awaited, 0, memory_order_seq_cst);
    if (!KVI_MUTANT(NEWS_UNTOLD))
        kvi_news_stir(os, board);
}

uint32_t kvi_news_listen(kvi_board *board)
{
    uint32_t news = atomic_load_explicit(&board->news, memory_order_acquire);
    atomic_store_explicit(&board->awaited, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    return news;
}

void kvi_news_sleep(const kvi_os *os, kvi_board *board, uint32_t news, uint64_t ns)
{
    os->word_wait(os, &board->news, news, KVI_MIN(ns, KVI_NEWS_RECHECK_NS));
}
