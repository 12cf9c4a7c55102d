/* What home's answers to listeners are made of; between the files of home only. */
#ifndef CORE_HOME_ANSWER_H
#define CORE_HOME_ANSWER_H

#include <stdint.h>

#include "core/cursor.h"

struct home;
struct mail_subscribe;
struct publication;
struct ring;
struct shard;

/* A place in the channel's present epoch. */
struct cursor home_cursor_at(const struct shard *shard, const struct home *home, uint64_t offset);

/* The publication at an index of the ring, 0: the oldest. Borrowed. */
struct publication *home_kept_at(const struct ring *ring, uint32_t index);

/* How many of the `left` publications from `first` (an index of the ring) make the page that is asked for. */
uint32_t home_page_length(
    const struct ring *ring, uint32_t first, uint32_t left, const struct mail_subscribe *mail);

/* Posts an answer, in order with what was published before. Takes it. */
void home_post_answer(struct shard *shard, struct home *home, struct mail_subscribe *mail);

/* Answers that there was no memory for the channel. Takes it. */
void home_answer_failed(struct shard *shard, struct mail_subscribe *mail);

#endif
