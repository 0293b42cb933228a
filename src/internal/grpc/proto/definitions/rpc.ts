/**
 * `google/rpc/status.proto` and `google/rpc/error_details.proto`, on the wire. What is newer in them than ten years is
 * `optional` here: it can be told from what is empty. `Any` and `Duration` have names of their own, so that they are plain
 * messages.
 */
export const rpc = `
syntax = "proto3";
package google.rpc;

message Status {
  int32 code = 1;
  string message = 2;
  repeated Packed details = 3;
}

message Packed {
  string type_url = 1;
  bytes value = 2;
}

message Delay {
  int64 seconds = 1;
  int32 nanos = 2;
}

message RetryInfo {
  Delay retry_delay = 1;
}

message DebugInfo {
  repeated string stack_entries = 1;
  string detail = 2;
}

message QuotaFailure {
  message Violation {
    string subject = 1;
    string description = 2;
    optional string api_service = 3;
    optional string quota_metric = 4;
    optional string quota_id = 5;
    map<string, string> quota_dimensions = 6;
    optional int64 quota_value = 7;
    optional int64 future_quota_value = 8;
  }
  repeated Violation violations = 1;
}

message ErrorInfo {
  string reason = 1;
  string domain = 2;
  map<string, string> metadata = 3;
}

message PreconditionFailure {
  message Violation {
    string type = 1;
    string subject = 2;
    string description = 3;
  }
  repeated Violation violations = 1;
}

message BadRequest {
  message FieldViolation {
    string field = 1;
    string description = 2;
    optional string reason = 3;
    LocalizedMessage localized_message = 4;
  }
  repeated FieldViolation field_violations = 1;
}

message RequestInfo {
  string request_id = 1;
  string serving_data = 2;
}

message ResourceInfo {
  string resource_type = 1;
  string resource_name = 2;
  string owner = 3;
  string description = 4;
}

message Help {
  message Link {
    string description = 1;
    string url = 2;
  }
  repeated Link links = 1;
}

message LocalizedMessage {
  string locale = 1;
  string message = 2;
}
`
