/* Between the files of peer only. */
#ifndef TESTS_SIM_PEER_OWN_H
#define TESTS_SIM_PEER_OWN_H

#include "tests/sim/peer.h"

uint64_t peer_draw(struct peer *peer, uint64_t bound);
void peer_send_frame(struct peer *peer, uint8_t first, struct span payload);
void peer_room_message(struct peer *peer);

/* The answer to a command of ours. */
void peer_command_answered(struct peer *peer, struct span id, struct span text);

/* An event, a notice, or the answer to a command. True: an event. */
bool peer_envelope(struct peer *peer, struct span text);
/* Several events in an array. */
void peer_bundle(struct peer *peer, struct span text);
/* A payload by itself. */
void peer_publication_raw(struct peer *peer, struct span payload);

/* Streams. */
void peer_stream_request(struct peer *peer);
void peer_stream_read(struct peer *peer);
void peer_stream_fini(struct peer *peer);

/* Breaks off and comes back with the last id. */
void peer_stream_reconnect(struct peer *peer);

/* Polls: asks, again and again. */
void peer_poll_ask(struct peer *peer);
void peer_poll_read(struct peer *peer);

/* HTTP: replies, in the order of the requests. */
void peer_read_replies(struct peer *peer);
/* Calls a function for each whole one, whose body is then in peer->body. */
void peer_read_http(struct peer *peer, void (*each)(struct peer *peer));

#endif
