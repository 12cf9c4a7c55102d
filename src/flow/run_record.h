/* How a run's header and its nodes' records are written: what run_record.c and run_restore.c must
 * agree on.
 *
 * Header:  {"v":1,"run_id","tag","user","status","workflow_ref","inputs_ref","created_ms",
 *           "finished_ms","counter","emits","consumes","events","nodes","error"?,"failed_node"?,
 *           "by"?}
 * Node:    {"v":1,"state","visit"?,"attempt"?,"hop"?,"from"?,"queued_ms"?,"finished_ms"?,
 *           "due_ms"?,"human"?,"payload_ref"?,"result_ref"?,"error"?,"edges"?,"loops"?,
 *           "percent"?,"notes"?}
 *
 * edges is a letter for each outgoing edge, percent is in thousandths, notes are 16 hexadecimal
 * digits each. A member that is left out is 0, empty or none. A node without a record never began.
 */
#ifndef FLOW_RUN_RECORD_H
#define FLOW_RUN_RECORD_H

enum { RECORD_VERSION = 1 };

/* By enum edge_state. */
#define RECORD_LETTERS "ots"

#endif
