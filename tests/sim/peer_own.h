/* Between the files of peer only. */
#ifndef TESTS_SIM_PEER_OWN_H
#define TESTS_SIM_PEER_OWN_H

#include "tests/sim/peer.h"

uint64_t peer_draw(struct peer *peer, uint64_t bound);
void peer_send_frame(struct peer *peer, uint8_t first, struct span payload);
void peer_room_message(struct peer *peer);

/* The answer to a command of ours. */
void peer_command_answered(struct peer *peer, struct span id, struct span text);

/* HTTP: replies, in the order of the requests. */
void peer_read_replies(struct peer *peer);

#endif
