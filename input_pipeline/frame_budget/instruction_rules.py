"""The table that says how densely in time each kind of question has to look.

One row a kind of question: (name, pattern, demand, why). Patterns are matched in lower-cased text,
English with word boundaries, Chinese as plain substrings. The strongest row that matches decides
(see instruction.py); among equals the upper row names the reason. To teach the policies a new
kind of question, add a row here and labelled sentences to
tests/input_pipeline/instruction_cases.py.
"""

import dataclasses
import re

DEMANDS = ("low", "low-medium", "medium", "high")
"""From "any frame that shows it will do" to "every half second may hold the answer"."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of question: `pattern` in the text means at least `demand`, because of `why`."""

    name: str
    pattern: re.Pattern[str]
    demand: str
    why: str


def _rule(name: str, demand: str, why: str, *alternatives: str) -> Rule:
    return Rule(name, re.compile("|".join(f"(?:{a})" for a in alternatives)), demand, why)


# Things that happen rather than stand around: counting them means watching all the time.
_EVENT_NOUNS = (
    r"(?:jump|lap|round|goal|shot|step|hop|flip|spin|rotation|clap|punch(?:e)?|kick|bounce|rep|"
    r"repetition|cycle|push-?up|sit-?up|pull-?up|squat|cut|flash(?:e)?|blink|stroke|hit|throw|"
    r"catche?|pass(?:e)?|event|action|movement|attempt|wave|knock|tap|turn|trip|scene change|"
    r"collision|touche?|bite|sip|swing|dribble)s"
)
_EVENT_VERBS = (
    r"(?:enter|exit|leav|left|pass|cross|jump|fall|fell|hit|bounc|scor|appear|disappear|drop|throw|"
    r"thrown|kick|clap|spin|flip|happen|occur|tak(?:e|es|ing) place|perform|collid|explod|crash|"
    r"arriv|depart|fly|flies|roll|launch|catch|caught|pick|put|mov|remov|add|flash|blink|"
    r"swing|knock|walk|run|ran|rid|com|came|go|went|flew|land|opens|opened|turn|serv|finish|complet|"
    r"touch|receiv|win|won|miss)(?:e?s|e?d|ing|e)?"
)
# One character of the same sentence. Runs of it are bounded, to keep matching time linear.
_SAME = r"[^.?!\n]"
_REST = rf"{_SAME}{{0,80}}"

RULES: tuple[Rule, ...] = (
    _rule(
        "event_count",
        "high",
        "counts events",
        r"\bhow many (?:\w+ ){0,2}times\b|\bhow (?:often|frequently)\b|\bnumber of times\b",
        rf"\bhow many (?:[\w-]+ ){{0,3}}{_EVENT_NOUNS}\b",
        rf"\bhow many (?:(?!(?:in|on|at|near|with) )[\w-]+ ){{1,4}}{_EVENT_VERBS}\b",
        # "how many eggs does she crack", but not what she merely has, or what you can see
        rf"\bhow many (?:[\w-]+ ){{1,3}}(?:do|does|did)\b"
        rf"(?!{_REST}\b(?:have|own|wear|hold|see|show|contain)\b)",
        rf"\b(?:count|number of)\b{_SAME}{{0,30}}\b{_EVENT_NOUNS}\b",
        r"几次|多少次|几下|多少下|几遍|几圈|次数|几个来回",
    ),
    _rule(
        "repetition",
        "high",
        "asks about repetition",
        r"\brepeat(?:s|ed|ing|edly)?\b|\brepetiti(?:on|ons|ve)\b|\brhythm\b|\bperiodic(?:ally)?\b",
        r"\b(?:over and over|again and again|back and forth)\b",
        r"重复|反复",
    ),
    _rule(
        "speed",
        "high",
        "asks about speed",
        r"\bhow (?:fast|slow|quick|quickly|slowly)\b|\bspeed(?:s|ing)?\b",
        r"\b(?:fast|slow)(?:er|est)\b",
        r"\b(?:ac|de)celerat\w+|\bslow(?:s|ed|ing)? down\b|\bslow[- ]motion\b|\btime[- ]?lapse\b",
        r"\bfast[- ]forward\w*|\bpace\b|\bquicker\b|\bvelocity\b",
        r"速度|多快|快慢|更快|更慢|加速|减速|慢动作",
    ),
    _rule(
        "brief_event",
        "high",
        "asks about a brief event",
        r"\bflash(?:es|ed|ing)?\b|\bblink(?:s|ed|ing)?\b|\bglimpses?\b|\bmomentar(?:y|ily)\b",
        r"\b(?:brief|split|quick)(?:ly)?[- ](?:moment|second|instant|appear\w*|flash\w*|show\w*)\b",
        r"\b(?:appear|show|shown|visible|seen)\w* (?:only )?(?:very )?(?:briefly|for an instant)\b",
        r"\bfor (?:only |just )?(?:a|an|one) (?:short|brief|split|single|instant|frame|moment)\b",
        r"\bsudden(?:ly)?\b|\binstant\b|\bblink of an eye\b",
        r"\bbriefly (?:\w+ed|seen|shown)\b",
        r"一闪|瞬间|突然|短暂",
    ),
    _rule(
        "every_event",
        "high",
        "asks for every event",
        r"\b(?:every|each) (?:single )?(?:event|action|step|movement|change|activity|moment)\b",
        r"\ball (?:of )?(?:the )?(?:\w+ )?(?:events|actions|steps|movements|changes|activities)\b",
        r"\b(?:step|second|frame|moment|minute|play|blow)[- ]by[- ](?:step|second|frame|moment|"
        r"minute|play|blow)\b",
        r"\bchronolog\w+|\btimeline\b",
        r"每一步|每个(?:动作|步骤|事件)|所有(?:动作|步骤|事件)|逐步|按时间",
    ),
    _rule(
        "exact_time",
        "high",
        "asks for exact times",
        r"\btime ?stamps?\b|\b(?:at )?(?:what|which) (?:second|moment|point|minute)\b",
        r"\bat what time in the (?:video|clip)\b|\bstart and end times?\b|\bwhen exactly\b",
        rf"\bwhen (?:do|does|did|is|are|was|were)\b{_REST}\b(?:start|begin|end|stop|happen|occur)",
        r"第几秒|什么时刻|时间戳|起止时间",
    ),
    _rule(
        "order",
        "medium",
        "order of events",
        r"\b(?:what|which|correct|right|same|reverse|temporal|following) order\b|\border of\b",
        r"\border in which\b|\bin order\b(?! to\b)|\bsequence\b|\bsuccessi(?:on|ve)\w*\b",
        r"\bfirst\b(?![- ](?:person|name|floor|aid))|\blast\b(?! name)|\bfinal(?:ly)?\b",
        r"\binitial(?:ly)?\b|\beventual(?:ly)?\b|\bsubsequent(?:ly)?\b|\bnext\b(?! to\b)|\bthen\b",
        r"\bsteps?\b(?! (?:stool|ladder))|\bprocedure\b|\bprocess\b",
        r"顺序|先后|依次|首先|最先|最后|接着|然后|接下来|步骤|过程",
    ),
    _rule(
        "before_after",
        "medium",
        "before or after",
        r"\b(?:before|after(?:wards?)?|prior to|until|as soon as)\b|\bfollowing (?:this|that)\b",
        r"\b(?:start|beginning|end|middle) of the (?:video|clip|scene|film|footage)\b",
        r"\b(?:at|in|by|toward|towards) the (?:very )?(?:start|beginning|end)\b",
        r"之前|之后|以前|以后|开头|开始时|结尾|结束时",
    ),
    _rule(
        "cause",
        "medium",
        "asks for a cause",
        r"\bwhy\b|\bcaus(?:e|es|ed|ing|al)\b|\breasons?\b|\bbecause\b|\bhow come\b",
        r"\bas a result\b|\bresult(?:s|ed)? (?:in|of|from)\b|\b(?:leads?|led) to\b",
        r"\bconsequences?\b|\bin response\b|\breact(?:s|ed|ion|ions)?\b",
        r"\bpurpose\b|\bintentions?\b",
        r"\bmotivat\w+|\bwhat if\b|\bwhat would\b",
        r"为什么|为何|原因|导致|因为|目的|结果",
    ),
    _rule(
        "outcome",
        "medium",
        "asks what happens",
        r"\bwhat(?:'s| is| was| has| had)? (?:happen|going on|taking place|unfold)\w*",
        r"\bwhat (?:will|might|could)\b|\bgoing to\b|\blikely to\b|\bpredict\w*|\boutcome\b",
        r"\bsucceed\w*|\bmanage[sd]? to\b|\b(?:what|which) events?\b",
        r"发生了?什么|会发生|将会|预测",
    ),
    _rule(
        "change",
        "medium",
        "asks about a change",
        r"\bchang(?:e|es|ed|ing)\b|\bbecom(?:e|es|ing)\b|\bbecame\b|\bturn(?:s|ed|ing)? into\b",
        r"\btransform\w*|\btransition\w*|\bevolv\w+|\bgradual(?:ly)?\b|\b(?:in|de)creas\w+",
        r"\b(?:grow|shrink|melt|dissolv|fad|expand)(?:s|es|ing|ed|e)?\b",
        r"变化|变成|变为|改变|逐渐",
    ),
    _rule(
        "duration",
        "medium",
        "asks how long",
        r"\bhow long\b(?! (?:is|are|was) the (?:hair|table|stick|rope))|\bduration\b",
        r"\bhow (?:much time|many (?:seconds|minutes))\b|\blast(?:s|ed)? (?:for|longer)\b",
        r"\b(?:longer|shorter) (?:time|than)\b",
        r"多久|多长时间|持续",
    ),
    _rule(
        "description",
        "medium",
        "describes the clip",
        r"\bcaption(?:s|ing)?\b|\bsummar(?:y|ies|i[sz]\w+)\b|\bnarrat\w+|\brecap\b|\brecount\b",
        r"\bstor(?:y|yline)\b|\bplot\b",
        rf"\b(?:describ|descript|explain|tell|depict)\w*\b{_SAME}{{0,60}}\b(?:video|clip|footage|"
        r"events?|happen\w*|actions?|activit\w+|going on|unfold\w*|tak\w+ place)\b",
        rf"\b(?:video|clip|footage)\b{_SAME}{{0,40}}\bdescri(?:be|ption)\w*",
        r"\bin (?:\w+ )?detail\b|\bdetailed\b|\belaborate\b",
        r"\bthroughout\b|\bover (?:the course of|time)\b",
        r"描述|概括|总结|详细|讲述|叙述|概述",
    ),
    _rule(
        "direction",
        "low-medium",
        "asks about motion",
        r"\bdirections?\b|\b(?:counter-?|anti-?)?clockwise\b|\btowards?\b|\baway from\b",
        r"\b(?:up|down|left|right|for|back)wards?\b|\bto the (?:left|right)\b|\bleft or right\b",
        r"\bmov(?:e|es|ed|ing|ement|ements)\b|\bmotion\b|\brotat\w+|\btrajectory\b|\bheading\b",
        r"\bcamera (?:\w+ )?(?:pan|zoom|tilt|angle|follow)\w*|\bzoom(?:s|ing|ed)?\b|\bpans\b",
        rf"\bwhere\b{_REST}\b(?:go(?:es|ing)?|went|ends? up|heads?|runs?|walks?|comes?|came)\b",
        r"方向|移动|运动|朝|往哪|顺时针|逆时针|旋转",
    ),
    _rule(
        "action",
        "low-medium",
        "asks about an action",
        r"\bdoing\b|\b(?:do|does|did) with\b|\b(?:what|which)\b[^.?!\n]{0,60}\b(?:do|done)\b",
        r"\bactions?\b|\bactivit(?:y|ies)\b|\bperform(?:s|ed|ing)?\b|\binteract\w*|\bgestur\w+",
        r"\bhow (?:do|does|did|is|are|was|were|to)\b(?! (?:\w+ ){0,4}(?:look|feel|dressed|called))",
        r"动作|行为|做什么|干什么|在做|怎么做|如何",
    ),
    _rule(
        "moment",
        "low-medium",
        "refers to a moment",
        r"\bwhen (?:the|he|she|they|it|a|an|his|her|their|someone|somebody|there)\b|\bwhile\b",
        r"\bduring\b(?! (?:the|this) (?:video|clip))|\bas (?:the|he|she|they|it)\b",
        r"的时候|时(?=[，,])",
    ),
    _rule(
        "object_count",
        "low-medium",
        "counts things",
        r"\bhow many\b|\b(?:the|total) number of\b|\bcount\b",
        r"多少个?|几个|几只|几人|几位|几辆|数一数",
    ),
    _rule(
        "colour",
        "low",
        "asks for a colour",
        r"\bcolou?r(?:s|ed)?\b",
        r"颜色|什么色",
    ),
    _rule(
        "text",
        "low",
        "asks for text or a number",
        rf"\b(?:what|which)\b{_SAME}{{0,40}}\b(?:text|words?|letters?|numbers?|digits?|brand|logo|"
        r"title|language|sign|score)\b",
        r"\bwritten\b|\b(?:sign|label|text|banner|screen|jersey|board)s? (?:say|read|show)s?\b",
        r"\bread the\b|\bdigit\b|\bocr\b",
        r"文字|什么字|写着|数字|标志|标题",
    ),
    _rule(
        "place",
        "low",
        "asks about the scene",
        r"\bwhere\b|\blocation\b|\b(?:in|out)doors?\b|\bweather\b|\bsetting\b|\bbackground\b",
        r"\bscene\b|\benvironment\b|\b(?:what|which) (?:room|place|city|country|season)\b",
        r"\btime of (?:the )?(?:day|year)\b",
        r"哪里|在哪|地点|场景|背景|天气|室内|室外",
    ),
    _rule(
        "identity",
        "low",
        "asks who it is",
        r"\bwho(?:se|m)?\b|\bgender\b|\bman or (?:a )?woman\b|\bcelebrity\b",
        r"\bname of\b|\bhow old\b",
        r"\boccupation\b|\bprofession\b|\brelationship\b|\bwhich person\b",
        r"是谁|谁|性别|职业|名字|年龄",
    ),
    _rule(
        "object",
        "low",
        "asks about an object",
        r"\b(?:what|which) (?:\w+ )?(?:kinds?|types?|sorts?|objects?|animals?|foods?|vehicles?|"
        r"instruments?|sports?|tools?|items?|shapes?|patterns?|materials?|breeds?|fruits?)\b",
        r"\b(?:is|are) there\b|\bwearing\b|\bholding\b|\bmade of\b|\bshaped?\b|\bsize\b",
        r"\bwhat (?:is|are|was)(?: \w+){0,3} (?:on|in|under|behind|beside|near|above|next to)\b",
        r"\blooks? like\b|\bappearance\b|\bvisible\b|\bpresent in\b|\b(?:can|do) you see\b",
        r"\bhair\b|\bbeard\b|\bbald\b|\bglasses\b|\byoung or old\b|\bold or young\b|\bhow tall\b",
        r"\b(?:name|identify) the\b|\b(?:what|which) (?:\w+ )?(?:team|landmark|building)\b",
        r"什么(?:物体|东西|动物|车|食物|衣服|形状|材质)|有没有|是否有|穿着?|长什么样",
    ),
    _rule(
        "topic",
        "low",
        "asks for the topic",
        r"\b(?:mainly |mostly )?about\?|\btopic\b|\btheme\b|\bgenre\b|\bmood\b|\bcategory\b",
        r"\b(?:main|primary) (?:focus|subject|idea)\b",
        r"主题|题材|风格|类型",
    ),
)

BOILERPLATE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # subtitles given with the question are material, not the question
        r"subtitles? (?:are|is) listed below:?.*?(?=\bselect the best\b|\bquestion:)",
        rf"\b(?:think|reason|explain your \w+)\b{_REST}\bstep[- ]by[- ]step\b",
        r"\b(?:before|after)\b (?:answering|responding|you answer|watching)\b[^.?!,\n]{0,80}",
        r"\b(?:(?:and )?then|finally|first),? (?:please )?(?:answer|respond|select|choose)\b",
        r"<(?:image|video)>",
    )
)
"""Text that is cut before the rules look: it says how to answer, not what to look for."""

BOILERPLATE_SENTENCE = re.compile(
    r"\bpay attention to\b|\bapply what you (?:have )?learned\b|\bquiz question\b|"
    r"\bimage for this question\b"
)
"""Sentences with such words are cut whole: they mention order, causes or ends in passing."""
