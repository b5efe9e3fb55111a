DROP INDEX webhook_queue_turn;
CREATE INDEX webhook_queue_due ON webhook_queue (due_at);
