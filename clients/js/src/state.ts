/**
 * The one state to show, of a client, a subscription or a run:
 * - `live`: connected, and nothing is missing
 * - `catching-up`: connecting for the first time, or reading what was missed
 * - `polling`: real-time updates are unavailable; requests bring what is new
 * - `offline`: nothing gets through; it is tried again by itself
 */
export type ConnectionState = 'live' | 'catching-up' | 'polling' | 'offline'
