// Conversations survive saving and loading; files that are none are refused by place.
#include "cmd/conversation.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace ferry::cmd {
namespace {

std::string temporary(const std::string& name) { return ::testing::TempDir() + "ferry_" + name; }

TEST(Conversation, MessagesInOrder) {
  Conversation chat;
  chat.set_system("Be brief.");
  chat.add_user("Hi");
  Completion answer;
  answer.text = "Hello";
  answer.reasoning = "a greeting";
  answer.tool_calls = {{"call_1", "f", "{}"}};
  chat.add_assistant(std::move(answer));
  chat.add_user("Bye");
  EXPECT_EQ(chat.messages_json(),
            R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},)"
            R"({"role":"assistant","content":"Hello","reasoning_content":"a greeting",)"
            R"("tool_calls":[{"id":"call_1","type":"function",)"
            R"("function":{"name":"f","arguments":"{}"}}]},)"
            R"({"role":"user","content":"Bye"}])");
  chat.drop_last();
  EXPECT_EQ(chat.num_turns(), 2);
  chat.reset();
  EXPECT_EQ(chat.messages_json(), R"([{"role":"system","content":"Be brief."}])");
}

TEST(Conversation, SaveAndLoad) {
  const std::string path = temporary("chat.json");
  Conversation chat;
  chat.set_system("S");
  chat.add_user("日本 \"quoted\"\n");
  Completion answer;
  answer.text = "answer";
  chat.add_assistant(std::move(answer));
  ASSERT_TRUE(chat.save(path).ok());
  Conversation other;
  other.add_user("gone after load");
  ASSERT_TRUE(other.load(path).ok());
  EXPECT_EQ(other.messages_json(), chat.messages_json());
  EXPECT_EQ(other.system(), "S");
  std::remove(path.c_str());
  EXPECT_FALSE(chat.save("/no/such/folder/chat.json").ok());
}

TEST(Conversation, WrongFilesLeaveItAlone) {
  const std::string path = temporary("wrong.json");
  Conversation chat;
  chat.add_user("kept");
  for (const char* text : {"", "{", "{}", "[1]", R"([{"role":"king","content":"x"}])",
                           R"([{"role":"user","content":5}])", R"({"messages":{}})"}) {
    std::ofstream(path) << text;
    const Status status = chat.load(path);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.error().message.rfind(path, 0), 0u) << status.error().message;
    EXPECT_EQ(chat.num_turns(), 1);
  }
  std::remove(path.c_str());
  EXPECT_EQ(chat.load(path).error().kind, ErrorKind::kNotFound);
}

}  // namespace
}  // namespace ferry::cmd
