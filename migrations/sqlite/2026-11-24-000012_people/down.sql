DROP INDEX comments_person;
DROP TABLE person_requests;
DROP TABLE notices;
DROP TABLE subscribers;
