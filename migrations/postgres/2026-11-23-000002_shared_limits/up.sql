-- Rate limits that all instances on this database share. Unlogged, because what a crash loses is a few minutes of counting.
-- Half of each page stays free, so that a row that everybody changes finds its next place beside it.

CREATE UNLOGGED TABLE rate_limits (
    key     BYTEA  NOT NULL PRIMARY KEY,   -- the ring's number, then 15 bytes of a keyed hash of whom it counts
    arrival BIGINT NOT NULL                -- GCRA's theoretical arrival time; once it is past, the row is as good as none
) WITH (fillfactor = 50);

-- Takes one from each ring, or from none when one of them has nothing left. Tells each ring's arrival before, in the order
-- in which they were asked; the asker sees from it who said no. Periods, spans (burst times period) and the moment are in
-- microseconds. Rows are locked in the order of their keys, so that two askers never wait for each other; rings that
-- everybody passes have the highest numbers, so that their rows are locked last and shortest. An arrival further ahead than
-- a ring allows was written by a clock that was wrong, and counts as a ring that is spent: from this moment, so that it
-- lets somebody pass after one period.
CREATE FUNCTION pass_rings(asked_keys BYTEA[], periods BIGINT[], spans BIGINT[], moment BIGINT) RETURNS BIGINT[]
LANGUAGE plpgsql AS $$
DECLARE
    ring   RECORD;
    raised BIGINT;
    before BIGINT[];
    passes BOOLEAN := true;
BEGIN
    BEGIN
        FOR ring IN
            SELECT * FROM unnest(asked_keys, periods, spans) WITH ORDINALITY AS asked (key, period, span, place)
            ORDER BY asked.key
        LOOP
            INSERT INTO rate_limits AS known (key, arrival) VALUES (ring.key, moment + ring.period)
            ON CONFLICT (key) DO UPDATE
                SET arrival = LEAST(GREATEST(known.arrival, moment), moment + ring.span) + ring.period
            RETURNING known.arrival INTO raised;
            before[ring.place] := raised - ring.period;
            passes := passes AND raised <= moment + ring.span;
        END LOOP;
        IF NOT passes THEN
            RAISE SQLSTATE 'AW429';
        END IF;
    EXCEPTION WHEN SQLSTATE 'AW429' THEN
        -- What was taken is given back; `before` stays. So was the arrival that a wrong clock had written.
        FOR ring IN
            SELECT * FROM unnest(asked_keys, spans) AS asked (key, span) ORDER BY asked.key
        LOOP
            UPDATE rate_limits SET arrival = moment + ring.span
            WHERE key = ring.key AND arrival > moment + ring.span;
        END LOOP;
    END;
    RETURN before;
END
$$;
