//! The built program as its users meet it: the command line, the first start, real mail, crashes, stops.

mod chaos;
mod command_line;
mod conversation;
mod copy;
mod crash;
mod deploy;
mod hints;
mod keep;
mod keys;
mod load;
mod logs;
mod metrics;
mod raw_http;
mod settings;
mod sign_in;
mod smtp;
mod webhooks;
