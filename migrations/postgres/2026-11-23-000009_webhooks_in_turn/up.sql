-- What is due for one webhook, the longest due first: found without reading all that waits for a receiver that is down.
CREATE INDEX webhook_queue_turn ON webhook_queue (webhook_id, due_at, id);
DROP INDEX webhook_queue_due;
