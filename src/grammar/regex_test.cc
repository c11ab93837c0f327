// Regular expressions and choices as constraints: what matches, what is refused, and that masks are
// exact.
#include "grammar/testing.h"

namespace ferry::grammar {
namespace {

struct RegexCase {
  const char* regex;
  std::vector<std::string> yes, no;
};

TEST(Regex, MatchesWhatItSays) {
  const std::vector<RegexCase> cases = {
      {"abc", {"abc"}, {"", "ab", "abcd"}},
      {"^abc$", {"abc"}, {"abcd"}},
      {"a|bc|", {"a", "bc", ""}, {"abc"}},
      {"a*b+c?", {"b", "aabbc"}, {"", "a", "bcc"}},
      {"(ab){2,3}", {"abab", "ababab"}, {"ab", "abababab"}},
      {"a{3}", {"aaa"}, {"aa", "aaaa"}},
      {"a{2,}", {"aa", "aaaaa"}, {"a"}},
      {"a{,2}", {"a{,2}"}, {"a"}},  // as ECMAScript has it: a brace that counts nothing
      {"a.c", {"abc", "aéc", "a日c"}, {"a\nc", "ac"}},
      {"[a-cx]", {"a", "c", "x"}, {"d", ""}},
      {"[^a-c]", {"d", "é", "\n"}, {"b"}},
      {"[]", {}, {"", "a"}},
      {"[^]", {"a", "\n"}, {""}},
      {"[-a]", {"-", "a"}, {"b"}},
      {"[\\]\\-]", {"]", "-"}, {"\\"}},
      {"\\d+\\.\\d{2}", {"12.50"}, {"12.5", "١.٢٣"}},
      {"\\w\\W\\s\\S\\D", {"a- bc"}, {"aa bc"}},
      {"\\p{Lu}\\p{L}*", {"Éa", "Ab", "Ωω"}, {"éa", "1"}},
      {"\\P{L}", {"1"}, {"a"}},
      {"\\x41\\u0042\\u{1F600}\\uD83D\\uDE00", {"AB😀😀"}, {"AB😀"}},
      {"(?:a|b)(?<n>c)(?P<m>d)", {"acd", "bcd"}, {"cd"}},
      {"a+?b*?", {"a", "aab"}, {"b"}},
      {"\\/\\.\\*\\$\\^", {"/.*$^"}, {"/"}},
      {"^a|b$", {"a", "b"}, {"ab"}},
      {"\\t\\n\\r\\f\\v\\0\\cJ", {std::string("\t\n\r\f\v\0\n", 7)}, {""}},
  };
  for (const RegexCase& test : cases) {
    const GrammarRef grammar =
        compiled_regex(test.regex[0] == '[' && test.regex[1] == ']' ? "[]|zz" : test.regex);
    for (const std::string& text : test.yes) {
      EXPECT_TRUE(matches(grammar, text)) << test.regex << " ~ " << text;
    }
    for (const std::string& text : test.no) {
      EXPECT_FALSE(matches(grammar, text)) << test.regex << " ~ " << text;
    }
  }
}

TEST(Regex, RefusesByName) {
  const auto message = [](const std::string& regex) {
    return refusal(ConstraintText::Kind::kRegex, regex);
  };
  EXPECT_NE(message("(?=a)").find("look-ahead"), std::string::npos) << message("(?=a)");
  EXPECT_NE(message("(?<!a)b").find("look-behind"), std::string::npos);
  EXPECT_NE(message("(a)\\1").find("back-reference"), std::string::npos);
  EXPECT_NE(message("\\bword").find("\\b"), std::string::npos);
  EXPECT_NE(message("(?i)a").find("flags"), std::string::npos);
  EXPECT_NE(message("a$b").find("anchor"), std::string::npos);
  EXPECT_NE(message("\\p{Script=Greek}").find("general categories"), std::string::npos);
  EXPECT_NE(message("[[:alpha:]]").find("POSIX"), std::string::npos);
  for (const char* broken : {"(", ")", "a)", "[a", "*", "a**", "a{3,2}", "\\", "\\q", "[z-a]",
                             "\\u12", "\\p", "\\p{", "\xFF", "(?<>a)", "a{2}{3}", "\\uD800"}) {
    const std::string said = message(broken);
    EXPECT_EQ(said.rfind("regex: ", 0), 0u) << broken << ": " << said;
  }
}

TEST(Regex, NothingToMatchIsSaid) {
  EXPECT_NE(refusal(ConstraintText::Kind::kRegex, "[]").find("nothing"), std::string::npos);
}

TEST(Regex, HostileOnesMeetTheBudget) {
  for (const char* hostile : {"a{1000000000}", "((a{1000}){1000}){1000}", "(a|b)*a(a|b){30}",
                              "(((((a*)*)*)*)*)*b{999999}", "(x{0,5000}){0,5000}", "(|a){1000000}",
                              "\\p{L}{1,100000}", "(.{1,200}a.{1,200}){1,50}"}) {
    const auto start = std::chrono::steady_clock::now();
    const std::string said = refusal(ConstraintText::Kind::kRegex, hostile);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_NE(said.find("constraint"), std::string::npos) << hostile << ": " << said;
    EXPECT_LT(took.count(), 20.0) << hostile;  // far from endless, even under a sanitizer
  }
  const std::string deep = std::string(5000, '(') + "a" + std::string(5000, ')');
  EXPECT_NE(refusal(ConstraintText::Kind::kRegex, deep).find("nested"), std::string::npos);
}

TEST(Regex, MasksAreExactAndWalksEnd) {
  std::mt19937 random(7);
  for (const char* regex : {"[a-z]{1,8}@[a-z]+\\.(com|org)", "(abc)*|12(3|4)?", "é|日本|.{2}",
                            "(\\d{1,3}\\.){3}\\d{1,3}", "\"(\\\\\"|[^\"])*\"",
                            "(true|false|null)(, ?(true|false))*", "[^]*"}) {
    const GrammarRef grammar = compiled_regex(regex);
    int finished = 0;
    for (int i = 0; i < 10; ++i) {
      const Walk walk = random_walk(grammar, random, 60, i < 3);
      if (!walk.finished) continue;
      ++finished;
      EXPECT_TRUE(matches(grammar, walk.text)) << regex << " ~ " << walk.text;
    }
    EXPECT_GT(finished, 0) << regex;
  }
}

TEST(Choice, ExactlyTheChoices) {
  ConstraintText constraint{.kind = ConstraintText::Kind::kChoice};
  constraint.choices = {"yes", "no", "maybe", "yesterday", "日本"};
  const GrammarRef grammar = compiled(constraint);
  for (const std::string& text : constraint.choices) EXPECT_TRUE(matches(grammar, text));
  for (const char* text : {"", "y", "yest", "nope", "日"}) EXPECT_FALSE(matches(grammar, text));
  Matcher matcher(grammar);
  expect_mask_is_exact(matcher);
  constraint.choices = {};
  EXPECT_FALSE(compile(constraint, test_vocabulary()).ok());
  constraint.choices = {"a", ""};
  EXPECT_FALSE(compile(constraint, test_vocabulary()).ok());
}

TEST(Matcher, RollsBackAndEnds) {
  Matcher matcher(compiled_regex("ab(cd)?"));
  EXPECT_FALSE(matcher.accept(kEndToken));
  ASSERT_TRUE(matcher.accept('a'));
  ASSERT_TRUE(matcher.accept('b'));
  EXPECT_TRUE(matcher.can_end());
  ASSERT_TRUE(matcher.accept('c'));
  EXPECT_FALSE(matcher.can_end());
  EXPECT_FALSE(matcher.accept('x'));
  matcher.rollback(2);
  EXPECT_FALSE(matcher.accept('c'));
  ASSERT_TRUE(matcher.accept('b'));
  ASSERT_TRUE(matcher.accept(kEndToken));
  EXPECT_TRUE(matcher.ended());
  EXPECT_FALSE(matcher.accept(kEndToken));
  for (uint32_t word : mask_of(matcher)) EXPECT_EQ(word, 0u);
  matcher.rollback(1);
  EXPECT_TRUE(matcher.can_end());
  EXPECT_TRUE(matcher.accept('c'));
}

TEST(Constraint, HoldsOnlyAfterTheMarker) {
  ConstraintText constraint{.kind = ConstraintText::Kind::kChoice};
  constraint.choices = {"yes", "no"};
  constraint.after = "</think>";
  const GrammarRef grammar = compiled(constraint);
  Matcher matcher(grammar);
  for (char c : std::string("what? <end> </thi"))
    ASSERT_TRUE(matcher.accept(static_cast<uint8_t>(c)));
  EXPECT_FALSE(matcher.can_end());
  ASSERT_TRUE(matcher.accept(258));  // <call>: anything goes
  expect_mask_is_exact(matcher);
  ASSERT_TRUE(matcher.accept(257));  // </think>
  expect_mask_is_exact(matcher);
  EXPECT_FALSE(matcher.accept('x'));
  ASSERT_TRUE(matcher.accept('\n'));
  for (char c : std::string("yes")) ASSERT_TRUE(matcher.accept(static_cast<uint8_t>(c)));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_FALSE(matcher.accept('y'));
  EXPECT_TRUE(matches(grammar, "<</think></think>no") == false);
  EXPECT_TRUE(matches(grammar, "<</think>\n\nno"));  // the marker in ordinary bytes
}

TEST(Compiler, KeepsWhatWasUsedLast) {
  Compiler compiler(test_vocabulary());
  ConstraintText constraint{.kind = ConstraintText::Kind::kRegex, .text = "a"};
  const GrammarRef first = *compiler.compile(constraint);
  EXPECT_EQ(*compiler.compile(constraint), first);
  for (int i = 0; i < 100; ++i) {
    constraint.text = "a{" + std::to_string(i + 1) + "}";
    ASSERT_TRUE(compiler.compile(constraint).ok());
  }
  EXPECT_LE(compiler.cache().size(), 32u);
  constraint.text = "a";
  EXPECT_NE(*compiler.compile(constraint), first);
}

}  // namespace
}  // namespace ferry::grammar
